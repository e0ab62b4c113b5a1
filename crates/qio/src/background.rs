//! Requests beside each other, and when they tell of their end: while a command waits for something, while the next
//! line is waited for, and at the end. What ends between is told then.

use std::sync::{Arc, Mutex, PoisonError};

use qapi::out;

#[derive(Default)]
struct Stage {
    /// Told when somebody waits again.
    kept: String,
    /// Somebody waits.
    open: bool,
}

/// The requests under way.
#[derive(Default)]
pub(crate) struct Background {
    tasks: Vec<reactor::JoinHandle<()>>,
    stage: Arc<Mutex<Stage>>,
}

impl Background {
    /// Starts a request; what it gives is printed.
    pub(crate) fn start(&mut self, request: impl Future<Output = String> + Send + 'static) {
        let stage = Arc::clone(&self.stage);
        let task = reactor::start(async move {
            let text = request.await;
            let mut stage = stage.lock().unwrap_or_else(PoisonError::into_inner);
            if stage.open {
                out::text(&text);
            } else {
                stage.kept.push_str(&text);
            }
        });
        self.tasks.extend(task);
    }

    /// Whether requests may tell now.
    pub(crate) fn let_tell(&self, open: bool) {
        let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        stage.open = open;
        if open {
            out::text(&std::mem::take(&mut stage.kept));
        }
    }

    /// Waits for all.
    pub(crate) async fn wait(&mut self) {
        self.let_tell(true);
        for task in self.tasks.drain(..) {
            // A task that panicked has said so.
            let _ = task.await;
        }
    }
}

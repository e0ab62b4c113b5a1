//! Pieces that are cut before anybody asks for them.
//!
//! Cutting may read the source's tables, one worker at a time. Were it done when a piece is wanted, all others would often wait for
//! it, and be handed the plan one behind the other: work side by side would be work in turns.

use std::collections::VecDeque;
use std::sync::{MutexGuard, PoisonError};

use tokio::sync::Mutex;

use super::ConvertError;
use super::plan::{Piece, Plan};

/// Somebody cuts more when fewer pieces than this are left.
const FEW: usize = 8;
/// As many as there are then.
const MANY: usize = 16;

/// What a worker gets.
pub(super) enum Next {
    Piece {
        piece: Piece,
        /// Progress counts it.
        counted: bool,
    },
    /// There are no more: the plan's position in bytes.
    End(u64),
}

/// A piece, or the end of all, with what is to be told when its turn comes.
pub(super) struct Cut {
    pub(super) warnings: Vec<String>,
    pub(super) next: Result<Next, ConvertError>,
}

/// The plan, and what was cut from it.
pub(super) struct Ahead {
    plan: Mutex<Plan>,
    cut: std::sync::Mutex<VecDeque<Cut>>,
}

impl Ahead {
    pub(super) fn new(plan: Plan) -> Self {
        Self {
            plan: Mutex::new(plan),
            cut: std::sync::Mutex::default(),
        }
    }

    fn cut(&self) -> MutexGuard<'_, VecDeque<Cut>> {
        self.cut.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next piece, in order.
    pub(super) async fn next(&self) -> Cut {
        let left = self.cut().len();
        if left < FEW
            && let Ok(mut plan) = self.plan.try_lock()
        {
            self.fill(&mut plan).await;
        }
        if let Some(cut) = self.cut().pop_front() {
            return cut;
        }
        let mut plan = self.plan.lock().await;
        loop {
            // Whoever had the plan before may have left something.
            if let Some(cut) = self.cut().pop_front() {
                return cut;
            }
            self.fill(&mut plan).await;
        }
    }

    /// Cuts until there are many, or the plan has ended.
    async fn fill(&self, plan: &mut Plan) {
        while self.cut().len() < MANY {
            let piece = plan.next().await;
            let warnings = plan.take_warnings();
            let next = piece.map(|piece| match piece {
                Some(piece) => Next::Piece {
                    piece,
                    counted: plan.counts(piece.content),
                },
                None => Next::End(plan.position()),
            });
            let goes_on = matches!(next, Ok(Next::Piece { .. }));
            self.cut().push_back(Cut { warnings, next });
            if !goes_on {
                return;
            }
        }
    }
}

//! How a backend tells the machine that a device has something to look at.

use std::fmt;
use std::sync::Arc;

/// Wakes the machine's loop, which then calls `Device::completed`. Copies wake the same loop. May be called from any thread,
/// also with the machine's lock held; never blocks.
#[derive(Clone)]
pub struct Wake(Arc<dyn Fn() + Send + Sync>);

impl Wake {
    /// A wake that calls this.
    pub fn new(call: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(call))
    }

    /// A wake for whoever looks without being told.
    pub fn nobody() -> Self {
        Self::new(|| {})
    }

    /// Wakes.
    pub fn wake(&self) {
        (self.0)();
    }
}

impl fmt::Debug for Wake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wake")
    }
}

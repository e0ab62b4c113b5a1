//! block-jobs

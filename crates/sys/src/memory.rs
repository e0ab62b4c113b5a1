//! How the C library's allocator behaves.
#![expect(unsafe_code, reason = "mallopt")]

/// All threads share one heap from here on. Each would get its own, which keeps what was freed for itself: threads that hand large
/// buffers to each other hold several times the memory that they need at once.
pub fn share_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: sets a number that the allocator reads under its own lock.
    let _set = unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

#[cfg(test)]
mod tests {
    #[test]
    fn threads_get_memory_as_before() {
        super::share_heap();
        let grow = |n: usize| move || vec![1_u8; n << 10].iter().map(|b| usize::from(*b)).sum();
        let threads: Vec<_> = (1..9).map(|n| std::thread::spawn(grow(n))).collect();
        let sums = threads
            .into_iter()
            .map(|t: std::thread::JoinHandle<usize>| t.join().unwrap());
        assert_eq!(sums.sum::<usize>(), 36 << 10);
    }
}

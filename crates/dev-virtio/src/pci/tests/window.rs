use super::*;

impl Bench {
    /// A register of window 4 through configuration space, as the bus does it.
    fn choose(&mut self, window: u64, offset: u64, length: u64) {
        for (at, bytes, value) in [(0x88, 1, window), (0x8c, 4, offset), (0x90, 4, length)] {
            self.function.config_mut().write(at, bytes, value);
            self.function.config_written(at, bytes);
        }
    }

    fn through(&mut self, offset: u64, length: u64) -> u64 {
        self.choose(4, offset, length);
        self.function.config_reads(0x94, 4);
        self.function
            .config()
            .read(0x94, usize::try_from(length).unwrap())
    }

    fn write_through(&mut self, offset: u64, length: u64, value: u64) {
        self.choose(4, offset, length);
        self.function.config_mut().write(0x94, 4, value);
        self.function.config_written(0x94, 4);
    }
}

#[test]
fn registers_are_reached_through_configuration_space() {
    let mut bench = bench();
    let capability = bench.function.config().read(0x84, 4);
    assert_eq!((capability & 0xff, capability >> 16), (9, 0x0514));
    bench.write_through(20, 1, 3);
    assert_eq!(bench.function.window_read(4, 20, 1), 3);
    // Sectors of the disk.
    assert_eq!(bench.through(0x2000, 4), 2048);
    bench.write_through(20, 1, 0);
    assert_eq!(bench.through(20, 1), 0);
}

#[test]
fn a_window_that_names_no_register_is_quiet() {
    let mut bench = bench();
    bench.write_through(20, 1, 3);
    for (window, offset, length) in [
        (3, 20, 1),
        (4, 20, 3),
        (4, 20, 0),
        (4, 18, 4),
        (4, 0xffff_fffc, 4),
        (4, 20, u64::from(u32::MAX)),
    ] {
        bench.choose(window, offset, length);
        bench.function.config_mut().write(0x94, 4, 0);
        bench.function.config_written(0x94, 4);
        bench.function.config_reads(0x94, 4);
        assert_eq!(
            bench.function.window_read(4, 20, 1),
            3,
            "{window} {offset} {length}"
        );
    }
}

#[test]
fn a_kick_comes_through_configuration_space() {
    let mut bench = bench();
    bench.start();
    bench.guest.put(0x4000, &[4, 0, 0, 0]);
    bench.guest.put(0x4ff0, &[0xff]);
    bench.guest.offer(&[(0x4000, 16)], &[(0x4ff0, 1)]);
    bench.write_through(0x3000, 2, 0);
    for _ in 0..10 {
        bench.function.completed();
    }
    assert_eq!(bench.guest.get(0x4ff0, 1), [0]);
}

#[test]
fn packed_rings_are_offered_where_they_are_asked_for() {
    let high = |function: &mut VirtioPci| {
        function.window_write(4, 0, 4, 1);
        function.window_read(4, 4, 4)
    };
    let low = |function: &mut VirtioPci| function.window_read(0, 0, 4);
    let mut usual = bench().function;
    assert_eq!((high(&mut usual), low(&mut usual) >> 28 & 3), (1, 3));
    let rings = crate::RingOptions {
        packed: true,
        event_idx: false,
        indirect_desc: false,
    };
    let mut packed = bench().function.with_rings(rings);
    assert_eq!(
        (high(&mut packed), low(&mut packed) >> 28 & 3),
        (1 | 1 << 2, 0)
    );
}

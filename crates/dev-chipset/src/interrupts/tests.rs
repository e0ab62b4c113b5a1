use std::sync::Mutex;

use super::*;

struct Bench {
    chips: Interrupts,
    cpus: Vec<Arc<CpuSignals>>,
    kicked: Arc<Mutex<Vec<usize>>>,
    clock: Clock,
}

fn bench(count: usize) -> Bench {
    let cpus: Vec<Arc<CpuSignals>> = (0..count).map(|_| Arc::default()).collect();
    let kicked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&kicked);
    let kick = Box::new(move |n| log.lock().expect("whole").push(n));
    let clock = Clock::stopped();
    Bench {
        chips: Interrupts::new(cpus.clone(), kick, clock.clone()),
        cpus,
        kicked,
        clock,
    }
}

impl Bench {
    /// Initialises the 8259 pair as firmware does: vectors 8 and 0x70, everything open.
    fn pics(&mut self) {
        for (region, base, word3) in [(0, 8, 4), (1, 0x70, 2)] {
            self.chips.write(region, 0, 1, 0x11);
            for value in [base, word3, 1, 0] {
                self.chips.write(region, 1, 1, value);
            }
        }
    }

    fn local(&mut self, cpu: usize, offset: u64, value: u64) {
        self.chips.local_write(cpu, offset, 4, value);
    }

    fn redirect(&mut self, pin: u64, entry: u64) {
        for (n, half) in [(0, entry & 0xffff_ffff), (1, entry >> 32)] {
            self.chips.write(REGION_IOAPIC, 0, 4, 0x10 + pin * 2 + n);
            self.chips.write(REGION_IOAPIC, 0x10, 4, half);
        }
    }
}

#[test]
fn the_pair_serves_by_priority() {
    let mut bench = bench(1);
    bench.pics();
    bench.chips.signal(Signal::Wire(4, true));
    bench.chips.signal(Signal::Wire(12, true));
    bench.chips.signal(Signal::Wire(0, true));
    assert!(bench.cpus[0].waits());
    assert_eq!(bench.chips.acknowledge(0), Some(8));
    assert_eq!(bench.chips.acknowledge(0), None, "the timer is in service");
    bench.chips.write(0, 0, 1, 0x20);
    assert_eq!(bench.chips.acknowledge(0), Some(0x74));
    bench.chips.write(1, 0, 1, 0x20);
    bench.chips.write(0, 0, 1, 0x20);
    assert_eq!(bench.chips.acknowledge(0), Some(12));
    assert!(!bench.cpus[0].waits());
}

#[test]
fn a_level_input_asks_until_it_is_low() {
    let mut bench = bench(1);
    bench.pics();
    bench.chips.write(REGION_ELCR, 1, 1, 0x0c);
    bench.chips.signal(Signal::Wire(11, true));
    for _ in 0..2 {
        assert_eq!(bench.chips.acknowledge(0), Some(0x73));
        bench.chips.write(1, 0, 1, 0x20);
        bench.chips.write(0, 0, 1, 0x20);
    }
    bench.chips.signal(Signal::Wire(11, false));
    assert_eq!(bench.chips.acknowledge(0), None);
}

#[test]
fn a_level_interrupt_of_the_io_apic_comes_again_after_its_end() {
    let mut bench = bench(2);
    bench.local(1, 0xf0, 0x1ff);
    bench.redirect(17, 1 << 56 | 1 << 15 | 0x51);
    bench.chips.signal(Signal::Wire(17, true));
    assert!(bench.cpus[1].waits() && !bench.cpus[0].waits());
    assert_eq!(bench.chips.acknowledge(1), Some(0x51));
    assert_eq!(bench.chips.acknowledge(1), None);
    bench.local(1, 0xb0, 0);
    assert_eq!(bench.chips.acknowledge(1), Some(0x51));
    bench.chips.signal(Signal::Wire(17, false));
    bench.local(1, 0xb0, 0);
    assert_eq!(bench.chips.acknowledge(1), None);
}

#[test]
fn init_and_start_reach_the_other_processor() {
    let mut bench = bench(2);
    bench.local(0, 0x310, 1 << 24);
    bench.local(0, 0x300, 0x4500);
    assert_eq!(bench.cpus[1].take_events().0, EVENT_INIT);
    bench.local(0, 0x300, 0x000c_4609);
    assert_eq!(bench.cpus[1].take_events(), (EVENT_START, 9));
    assert!(!bench.cpus[0].has_events());
    assert_eq!(*bench.kicked.lock().expect("whole"), [1, 1]);
}

#[test]
fn the_timer_fires_once_or_again_and_again() {
    let mut bench = bench(1);
    bench.local(0, 0xf0, 0x1ff);
    bench.local(0, 0x3e0, 0xb);
    bench.local(0, 0x320, 0x2_0040);
    bench.local(0, 0x380, 1000);
    assert_eq!(bench.chips.deadline(), Some(1000));
    bench.clock.advance(400);
    assert_eq!(bench.chips.local_read(0, 0x390, 4), 600);
    bench.clock.advance(2700);
    bench.chips.tick(3100);
    assert_eq!(bench.chips.acknowledge(0), Some(0x40));
    assert_eq!(bench.chips.deadline(), Some(4000));
    bench.local(0, 0x320, 0x4_0041);
    assert_eq!(bench.chips.deadline(), None);
    assert!(bench.chips.msr_write(0, 0x6e0, 5000));
    assert_eq!(bench.chips.msr_read(0, 0x6e0), Some(5000));
    bench.chips.tick(5000);
    bench.local(0, 0xb0, 0);
    assert_eq!(bench.chips.acknowledge(0), Some(0x41));
    assert_eq!(bench.chips.msr_read(0, 0x6e0), Some(0));
}

#[test]
fn x2apic_is_reached_by_registers_only() {
    let mut bench = bench(2);
    assert_eq!(bench.chips.msr_read(0, 0x802), None);
    assert!(bench.chips.local_page(0, 0xfee0_0030));
    assert!(bench.chips.msr_write(1, 0x1b, 0xfee0_0c00));
    assert!(!bench.chips.local_page(1, 0xfee0_0030));
    assert_eq!(bench.chips.msr_read(1, 0x802), Some(1));
    assert_eq!(bench.chips.msr_read(1, 0x80d), Some(2));
    assert!(
        !bench.chips.msr_write(1, 0x1b, 0xfee0_0800),
        "not back at once"
    );
    assert!(bench.chips.msr_write(1, 0x80f, 0x1ff));
    assert!(bench.chips.msr_write(1, 0x83f, 0x55));
    assert_eq!(bench.chips.acknowledge(1), Some(0x55));
    assert!(!bench.chips.msr_write(1, 0x80b, 1));
}

#[test]
fn the_task_priority_holds_back() {
    let mut bench = bench(1);
    bench.local(0, 0xf0, 0x1ff);
    bench.chips.set_task_priority(0, 5);
    bench.chips.signal(Signal::Message(0xfee0_0000, 0x52));
    assert_eq!(bench.chips.acknowledge(0), None);
    bench.chips.set_task_priority(0, 4);
    assert_eq!(bench.chips.acknowledge(0), Some(0x52));
}

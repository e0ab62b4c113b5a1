//! Paging of all kinds: rights, error codes, accessed and dirty bits (Intel SDM volume 3, chapter 4).

use x86_cpu::fault::{GP, PF};
use x86_cpu::state::cr;

use super::bench::{Bench, DONE};

/// Linear address of the page that tests map.
const PROBE: u64 = 0x40_0000;
/// Physical page behind it.
const TARGET: u64 = 0x10_0000;
/// Page tables of 32-bit benches.
const TABLES: u64 = 0x1_0000;

const WRITABLE: u64 = 2;
const USER: u64 = 4;
const LARGE: u64 = 0x80;
const NO_EXECUTE: u64 = 1 << 63;

const READ: &[u8] = &[0xa0, 0, 0, 0x40, 0]; // mov al,[PROBE]
const WRITE: &[u8] = &[0xa2, 0, 0, 0x40, 0]; // mov [PROBE],al
const FETCH: &[u8] = &[0xb8, 0, 0, 0x40, 0, 0xff, 0xd0]; // mov eax,PROBE; call eax
// The same in 64-bit mode.
const READ_64: &[u8] = &[0x8a, 0x04, 0x25, 0, 0, 0x40, 0];
const WRITE_64: &[u8] = &[0x88, 0x04, 0x25, 0, 0, 0x40, 0];

/// A page for PROBE with `bits` in every level, in tables of the bench's kind.
fn probe(bench: &Bench, bits: u64) {
    let leaf = TARGET | bits | 1;
    // RET, so that a fetch comes back.
    bench.put(TARGET, &[0xc3]);
    let registers = bench.registers();
    if registers.efer & 0x400 != 0 {
        bench.put_int(0x1_2010, 8, 0x1_4007);
        bench.put_int(0x1_4000, 8, leaf);
    } else if registers.cr4 & cr::PAE != 0 {
        bench.put_int(TABLES + 0x1010, 8, 0x1_4007);
        bench.put_int(0x1_4000, 8, leaf);
    } else {
        bench.put_int(TABLES + 4, 4, 0x1_4007);
        bench.put_int(0x1_4000, 4, leaf & 0xffff_ffff);
    }
}

/// 32-bit mode with two levels; the first 4 MiB by 4 KiB pages.
fn two_levels(cr4: u64) -> Bench {
    let mut bench = Bench::protected();
    bench.put_int(TABLES, 4, 0x1_1007);
    for n in 0..1024 {
        bench.put_int(0x1_1000 + n * 4, 4, n << 12 | 7);
    }
    bench.change(|registers| {
        registers.cr3 = TABLES;
        registers.cr4 = cr4;
        registers.cr0 |= cr::PG | cr::WP;
    });
    bench
}

/// 32-bit mode with PAE; the first 2 MiB by 4 KiB pages.
fn pae(cr4: u64, efer: u64) -> Bench {
    let mut bench = Bench::protected();
    bench.put_int(TABLES, 8, 0x1_1001);
    bench.put_int(0x1_1000, 8, 0x1_2007);
    for n in 0..512 {
        bench.put_int(0x1_2000 + n * 8, 8, n << 12 | 7);
    }
    bench.change(|registers| {
        registers.cr3 = TABLES;
        registers.cr4 = cr4 | cr::PAE;
        registers.efer = efer;
        registers.cr0 |= cr::PG | cr::WP;
    });
    bench
}

fn long(cr4: u64) -> Bench {
    let mut bench = Bench::long();
    bench.change(|registers| {
        registers.cr4 |= cr4;
        registers.cr0 |= cr::WP;
    });
    bench
}

/// Runs `code` and wants a page fault with this error code at PROBE, or none.
fn wants(mut bench: Bench, code: &[u8], error: Option<u32>) {
    let end = bench.run(code);
    match error {
        Some(error) => {
            assert_eq!(end.what(), (PF, error), "{code:x?}");
            assert_eq!(bench.registers().cr2, PROBE);
        }
        None => assert_eq!(end.what(), (DONE, 0), "{code:x?}"),
    }
}

#[test]
fn two_levels_know_presence_writing_and_users() {
    let with = |bits: Option<u64>| {
        let bench = two_levels(0);
        if let Some(bits) = bits {
            probe(&bench, bits);
        }
        bench
    };
    wants(with(None), READ, Some(0));
    wants(with(None), WRITE, Some(2));
    wants(with(None).user(), WRITE, Some(6));
    // Without NX and SMEP a fetch looks like a read.
    wants(with(None), FETCH, Some(0));
    wants(with(Some(0)), READ, None);
    wants(with(Some(0)), WRITE, Some(3));
    wants(with(Some(WRITABLE)), WRITE, None);
    wants(with(Some(WRITABLE)).user(), READ, Some(5));
    wants(with(Some(USER)).user(), READ, None);
    wants(with(Some(USER)).user(), WRITE, Some(7));
    wants(with(Some(USER)).user(), FETCH, None);
    let mut without_wp = with(Some(0));
    without_wp.change(|registers| registers.cr0 &= !cr::WP);
    wants(without_wp, WRITE, None);
}

#[test]
fn a_directory_entry_limits_its_table() {
    let bench = two_levels(0);
    probe(&bench, WRITABLE | USER);
    bench.put_int(TABLES + 4, 4, 0x1_4001);
    wants(bench.user(), READ, Some(5));
    let bench = two_levels(0);
    probe(&bench, WRITABLE | USER);
    bench.put_int(TABLES + 4, 4, 0x1_4005);
    wants(bench.user(), WRITE, Some(7));
}

#[test]
fn pages_of_4_mib_need_pse_and_reach_beyond_4_gib() {
    // PROBE by one large page at physical zero: the code page, two MiB further nothing else.
    let large = |bits: u64| {
        let bench = two_levels(cr::PSE);
        bench.put_int(TABLES + 4, 4, LARGE | WRITABLE | 1 | bits);
        bench
    };
    wants(large(0), READ, None);
    // Bit 21 is reserved, bits 13 to 20 are address bits 32 to 39.
    wants(large(1 << 21), READ, Some(9));
    let mut far = large(1 << 13);
    far.ram.write_uint(0, 1, 0x77).expect("fits");
    assert_eq!(far.run(READ).vector, DONE);
    assert_eq!(far.registers().general[0] & 0xff, 0);
    // Without PSE the bit is nothing: the entry leads to a table.
    let bench = two_levels(0);
    bench.put_int(TABLES + 4, 4, 0x1_4000 | LARGE | WRITABLE | 1);
    bench.put_int(0x1_4000, 4, TARGET | 1);
    wants(bench, READ, None);
}

#[test]
fn accessed_and_dirty_bits_follow_use() {
    let mut bench = two_levels(0);
    probe(&bench, WRITABLE);
    assert_eq!(bench.int(0x1_4000, 4) & 0x60, 0);
    assert_eq!(bench.run(READ).vector, DONE);
    assert_eq!(bench.int(0x1_4000, 4) & 0x60, 0x20);
    assert_eq!(bench.int(TABLES + 4, 4) & 0x60, 0x20);
    assert_eq!(bench.run(WRITE).vector, DONE);
    assert_eq!(bench.int(0x1_4000, 4) & 0x60, 0x60);
    assert_eq!(bench.int(TABLES + 4, 4) & 0x60, 0x20);
    // An access that faults marks nothing.
    let mut bench = two_levels(0);
    probe(&bench, 0);
    assert_eq!(bench.run(WRITE).vector, PF);
    assert_eq!(bench.int(0x1_4000, 4) & 0x60, 0);
}

#[test]
fn pae_has_no_execute_and_reserved_bits() {
    let with = |bits: u64| {
        let bench = pae(0, 0x800);
        probe(&bench, bits);
        bench
    };
    wants(with(NO_EXECUTE), READ, None);
    wants(with(NO_EXECUTE), FETCH, Some(0x11));
    wants(with(NO_EXECUTE | USER).user(), FETCH, Some(0x15));
    wants(with(1 << 45), READ, Some(9));
    wants(with(1 << 45).user(), WRITE, Some(0xf));
    // Without EFER.NXE the bit is reserved.
    let plain = pae(0, 0);
    probe(&plain, NO_EXECUTE);
    wants(plain, READ, Some(9));
    // A page of 2 MiB: bits 13 to 20 are reserved.
    let large = pae(0, 0);
    large.put_int(TABLES + 0x1010, 8, LARGE | 1);
    wants(large, READ, None);
    let large = pae(0, 0);
    large.put_int(TABLES + 0x1010, 8, 1 << 14 | LARGE | 1);
    wants(large, READ, Some(9));
}

#[test]
fn four_levels_know_the_same() {
    let with = |bits: u64| {
        let bench = long(0);
        probe(&bench, bits);
        bench
    };
    wants(with(0), READ_64, None);
    wants(with(0), WRITE_64, Some(3));
    wants(with(USER).user(), WRITE_64, Some(7));
    wants(with(NO_EXECUTE), FETCH, Some(0x11));
    wants(with(1 << 44), READ_64, Some(9));
    // Bits 52 to 58 are free for software.
    wants(with(0x7f << 52), READ_64, None);
    let large = long(0);
    large.put_int(0x1_2010, 8, LARGE | WRITABLE | 1);
    wants(large, WRITE_64, None);
    // A page of 1 GiB.
    let mut huge = long(0);
    huge.put_int(0x1_1008, 8, LARGE | WRITABLE | 1);
    let end = huge.run(&[0x8a, 0x04, 0x25, 0, 0, 0, 0x40]);
    assert_eq!(end.what(), (DONE, 0));
}

#[test]
fn smep_and_smap_keep_the_kernel_off_user_pages() {
    let with = |cr4: u64| {
        let bench = long(cr4);
        // The code's own page must be the kernel's.
        for page in 0..0x20 {
            bench.put_int(0x1_3000 + page * 8, 8, page << 12 | 3);
        }
        probe(&bench, WRITABLE | USER);
        bench
    };
    wants(with(cr::SMEP), READ_64, None);
    wants(with(cr::SMEP), FETCH, Some(0x11));
    wants(with(cr::SMAP), READ_64, Some(1));
    wants(with(cr::SMAP), WRITE_64, Some(3));
    wants(with(cr::SMAP), FETCH, None);
    // STAC opens.
    wants(
        with(cr::SMAP),
        &[&[0x0f, 0x01, 0xcb], READ_64].concat(),
        None,
    );
    // SMEP alone makes the fetch bit of error codes.
    let bench = two_levels(cr::SMEP);
    for page in 0..0x20 {
        bench.put_int(0x1_1000 + page * 4, 4, page << 12 | 3);
    }
    wants(bench, FETCH, Some(0x10));
}

#[test]
fn protection_keys_limit_data_of_users() {
    // mov ecx,0; mov edx,0; mov eax,KEYS; wrpkru, and then the access.
    let program = |keys: u8, access: &[u8]| {
        let mut code = vec![
            0x31, 0xc9, 0x31, 0xd2, 0xb8, keys, 0, 0, 0, 0x0f, 0x01, 0xef,
        ];
        code.extend(access);
        code
    };
    let with = || {
        let bench = long(cr::PKE);
        // Key 1.
        probe(&bench, WRITABLE | USER | 1 << 59);
        bench
    };
    wants(with().user(), &program(0, WRITE_64), None);
    wants(with().user(), &program(8, READ_64), None);
    wants(with().user(), &program(8, WRITE_64), Some(0x27));
    wants(with().user(), &program(4, READ_64), Some(0x25));
    wants(with().user(), &program(4, FETCH), None);
    // The kernel obeys too, writes only with WP.
    wants(with(), &program(8, WRITE_64), Some(0x23));
    let mut without_wp = with();
    without_wp.change(|registers| registers.cr0 &= !cr::WP);
    wants(without_wp, &program(8, WRITE_64), None);
}

#[test]
fn addresses_that_are_not_canonical_raise_gp() {
    // mov rax,0x800000000000; mov al,[rax]
    let code = [0x48, 0xb8, 0, 0, 0, 0, 0, 0x80, 0, 0, 0x8a, 0x00];
    assert_eq!(long(0).run(&code).what(), (GP, 0));
}

#[test]
fn five_levels_reach_further() {
    let mut bench = Bench::long();
    bench.put_int(0x1_5000, 8, 0x1_0007);
    // Linear 1 << 48: entry 1 of the top table, then the same tables.
    bench.put_int(0x1_5008, 8, 0x1_0007);
    bench.change(|registers| {
        registers.cr3 = 0x1_5000;
        registers.cr4 |= cr::LA57;
    });
    bench.put(TARGET, &[0x5a]);
    // mov rax,0x1000000100000; mov al,[rax]
    let code = [0x48, 0xb8, 0, 0, 0x10, 0, 0, 0, 1, 0, 0x8a, 0x00];
    assert_eq!(bench.run(&code).vector, DONE);
    assert_eq!(bench.registers().general[0] & 0xff, 0x5a);
    // Bit 56 is the sign now.
    let code = [0x48, 0xb8, 0, 0, 0x10, 0, 0, 0, 0, 1, 0x8a, 0x00];
    assert_eq!(bench.run(&code).what(), (GP, 0));
}

#[test]
fn process_identifiers_have_rules() {
    // mov rax,cr4; bts rax,17; mov cr4,rax
    let switch_on = [
        0x0f, 0x20, 0xe0, 0x48, 0x0f, 0xba, 0xe8, 17, 0x0f, 0x22, 0xe0,
    ];
    let mut bench = long(0);
    bench.change(|registers| registers.cr3 |= 5);
    assert_eq!(bench.run(&switch_on).what(), (GP, 0));
    let mut bench = long(0);
    assert_eq!(bench.run(&switch_on).what(), (DONE, 0));
    // mov rax,cr3; or rax,5; bts rax,63; mov cr3,rax: identifier 5, nothing forgotten; bit 63 is not kept
    let load = [
        0x0f, 0x20, 0xd8, 0x48, 0x83, 0xc8, 5, 0x48, 0x0f, 0xba, 0xe8, 63, 0x0f, 0x22, 0xd8,
    ];
    assert_eq!(bench.run(&load).what(), (DONE, 0));
    assert_eq!(bench.registers().cr3, 0x1_0005);
    // Without the feature on, bit 63 is reserved.
    assert_eq!(long(0).run(&load).what(), (GP, 0));
    // Paging cannot be switched off while they are on; neither can long mode by it.
    assert_eq!(
        bench
            .run(&[0x0f, 0x20, 0xc0, 0x0f, 0xba, 0xf0, 31, 0x0f, 0x22, 0xc0])
            .what(),
        (GP, 0)
    );
}

#[test]
fn a_flush_makes_changes_of_tables_seen() {
    let mut bench = long(0);
    probe(&bench, 0);
    assert_eq!(bench.run(READ_64).vector, DONE);
    // mov qword [0x14000],0 first; the translation may stay until INVLPG.
    let clear = [0x48, 0xc7, 0x04, 0x25, 0, 0x40, 1, 0, 0, 0, 0, 0];
    let invlpg = [0x0f, 0x01, 0x3c, 0x25, 0, 0, 0x40, 0];
    let code = [READ_64, &clear, &invlpg, READ_64].concat();
    assert_eq!(bench.run(&code).what(), (PF, 0));
}

#[test]
fn accesses_wrap_at_4_gib_in_32_bit_code() {
    let mut bench = two_levels(0);
    // The last page of 4 GiB is TARGET; what follows is page 0.
    bench.put_int(TABLES + 0xffc, 4, 0x1_4007);
    bench.put_int(0x1_4ffc, 4, TARGET | 7);
    bench.put(TARGET + 0xffe, &[0x11, 0x22]);
    bench.put(0, &[0x33, 0x44]);
    // mov eax,[0xfffffffe]
    assert_eq!(bench.run(&[0xa1, 0xfe, 0xff, 0xff, 0xff]).vector, DONE);
    assert_eq!(bench.registers().general[0], 0x4433_2211);
    // mov ebx,0xffffffff; mov al,[ebx+0x10]: the address itself wraps
    bench.put(0xf, &[0x99]);
    assert_eq!(
        bench
            .run(&[0xbb, 0xff, 0xff, 0xff, 0xff, 0x8a, 0x43, 0x10])
            .vector,
        DONE
    );
    assert_eq!(bench.registers().general[0] & 0xff, 0x99);
}

#[test]
fn umip_hides_tables_from_users() {
    for (umip, end) in [(0, (DONE, 0)), (cr::UMIP, (GP, 0))] {
        // sgdt [0x9000]; then sidt, sldt, str, smsw into eax or memory
        for code in [
            &[0x0f, 0x01, 0x04, 0x25, 0, 0x90, 0, 0][..],
            &[0x0f, 0x01, 0x0c, 0x25, 0, 0x90, 0, 0],
            &[0x0f, 0x00, 0xc0],
            &[0x0f, 0x00, 0xc8],
            &[0x0f, 0x01, 0xe0],
        ] {
            assert_eq!(long(umip).user().run(code).what(), end, "{code:x?}");
            assert_eq!(long(umip).run(code).what(), (DONE, 0));
        }
    }
}

#[test]
fn code_may_cross_pages_and_be_changed_behind_the_crossing() {
    let mut bench = long(0);
    // An instruction over the end of the page: mov eax,IMM, its last bytes in the next page, which is written and run again.
    let at = 0xbffe;
    bench.put(at, &[0xb8, 1, 0, 0, 0, 0xcc]);
    bench.change(|registers| registers.rip = at);
    assert_eq!(bench.go_on().vector, DONE);
    assert_eq!(bench.registers().general[0], 1);
    bench.put(at + 4, &[0x80]);
    bench.change(|registers| registers.rip = at);
    assert_eq!(bench.go_on().vector, DONE);
    assert_eq!(bench.registers().general[0], 0x8000_0001);
    // The next page is not there: the fault names its first byte.
    bench.put_int(0x1_3060, 8, 0);
    bench.change(|registers| {
        registers.rip = at;
        registers.cr3 = 0x1_0000;
    });
    let end = bench.go_on();
    assert_eq!((end.vector, end.ip), (PF, at));
    assert_eq!(bench.registers().cr2, at + 2);
}

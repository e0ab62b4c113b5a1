//! Which programs of kvm-unit-tests run, and on what.

/// The width a program is built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    Bits32,
    Bits64,
}

impl Width {
    /// As the project's `configure` knows it.
    pub(super) fn arch(self) -> &'static str {
        match self {
            Self::Bits32 => "i386",
            Self::Bits64 => "x86_64",
        }
    }
}

/// One test.
#[derive(Clone, Copy)]
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) program: &'static str,
    pub(super) width: Width,
    pub(super) processors: u32,
    pub(super) cpu: &'static str,
    /// The board, and devices beside those that every test has.
    pub(super) board: &'static str,
    pub(super) devices: &'static [&'static str],
    pub(super) arguments: &'static str,
    /// Variables of its environment, a line each.
    pub(super) environment: &'static str,
    /// It must end within these.
    pub(super) seconds: u64,
}

const fn case(name: &'static str, program: &'static str, cpu: &'static str) -> Case {
    Case {
        name,
        program,
        width: Width::Bits64,
        processors: 1,
        cpu,
        board: "pc",
        devices: &[],
        arguments: "",
        environment: "",
        seconds: 180,
    }
}

const fn narrow(name: &'static str) -> Case {
    Case {
        width: Width::Bits32,
        ..case(name, name, "qemu32")
    }
}

const fn many(processors: u32, of: Case) -> Case {
    Case { processors, ..of }
}

const fn exits(processors: u32, name: &'static str, arguments: &'static str) -> Case {
    Case {
        arguments,
        processors,
        ..case(name, "vmexit", "qemu64,+x2apic,+tsc-deadline")
    }
}

/// The interrupt controller's test, without the calls to a hypervisor that it makes where it finds its test device.
const fn apic(name: &'static str, cpu: &'static str) -> Case {
    Case {
        environment: "TEST_DEVICE=0\n",
        ..many(2, case(name, "apic", cpu))
    }
}

pub(super) const KVM_UNIT_TESTS: &[Case] = &[
    case("access", "access_test", "max,host-phys-bits"),
    narrow("cmpxchg8b"),
    case("debug", "debug", "qemu64"),
    case("emulator", "emulator", "qemu64"),
    case("eventinj", "eventinj", "qemu64"),
    case("idt_test", "idt_test", "qemu64"),
    many(4, case("ioapic", "ioapic", "qemu64,+x2apic")),
    Case {
        board: "q35",
        devices: &["intel-iommu,intremap=on,eim=off", "edu"],
        ..many(4, case("intel_iommu", "intel-iommu", "qemu64"))
    },
    case("la57", "la57", "max,host-phys-bits"),
    case("memory", "memory", "max"),
    case("msr", "msr", "max,vendor=GenuineIntel"),
    case("msr64", "msr", "qemu64,vendor=GenuineIntel"),
    case("pcid-enabled", "pcid", "qemu64,+pcid,+invpcid"),
    case("pcid-disabled", "pcid", "qemu64,-pcid,-invpcid"),
    case("pcid-asymmetric", "pcid", "qemu64,-pcid,+invpcid"),
    case("pks", "pks", "max"),
    case("pku", "pku", "max"),
    case("rdpru", "rdpru", "max"),
    case("realmode", "realmode", "qemu64"),
    case("rmap_chain", "rmap_chain", "qemu64"),
    case("s3", "s3", "qemu64"),
    case("setjmp", "setjmp", "qemu64"),
    Case {
        seconds: 600,
        ..case("sieve", "sieve", "qemu64")
    },
    case("smap", "smap", "max"),
    many(2, case("smptest", "smptest", "qemu64")),
    many(3, case("smptest3", "smptest", "qemu64")),
    case("syscall", "syscall", "Opteron_G1,vendor=AuthenticAMD"),
    narrow("taskswitch"),
    narrow("taskswitch2"),
    case("tsc", "tsc", "max"),
    case("tsc_adjust", "tsc_adjust", "max"),
    case("umip", "umip", "qemu64,+umip"),
    exits(1, "vmexit_cpuid", "cpuid"),
    exits(2, "vmexit_cr0_wp", "toggle_cr0_wp"),
    exits(2, "vmexit_cr4_pge", "toggle_cr4_pge"),
    exits(1, "vmexit_inl_pmtimer", "inl_from_pmtimer"),
    exits(2, "vmexit_ipi", "ipi"),
    exits(2, "vmexit_ipi_halt", "ipi_halt"),
    exits(1, "vmexit_mov_from_cr8", "mov_from_cr8"),
    exits(1, "vmexit_mov_to_cr8", "mov_to_cr8"),
    exits(1, "vmexit_ple_round_robin", "ple_round_robin"),
    exits(1, "vmexit_tscdeadline", "tscdeadline"),
    exits(1, "vmexit_tscdeadline_immed", "tscdeadline_immed"),
    apic("x2apic", "qemu64,+x2apic,+tsc-deadline"),
    apic("xapic", "qemu64,-x2apic,+tsc-deadline"),
    case("xsave", "xsave", "max"),
];

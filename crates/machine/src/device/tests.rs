use std::collections::BTreeSet;

use super::*;

fn refusal(text: &str) -> String {
    let (driver, properties) = text.split_once(',').unwrap_or((text, ""));
    let pairs = properties
        .split(',')
        .filter_map(|pair| pair.split_once('='));
    let option = DeviceOption {
        text: text.to_owned(),
        driver: driver.to_owned(),
        properties: pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
    };
    check(&option).err().unwrap_or_default()
}

/// The texts are those that the reference prints for the same words.
#[test]
fn wrong_properties_are_refused_in_the_words_of_the_reference() {
    for (text, wanted) in [
        ("nosuch", "'nosuch' is not a valid device model name"),
        (
            "virtio-blk-pci,foo=1",
            "Property 'virtio-blk-pci.foo' not found",
        ),
        (
            "isa-debug-exit,iobase=x",
            "Parameter 'iobase' expects integer",
        ),
        (
            "isa-debug-exit,iobase=-1",
            "Parameter 'iobase' expects uint32_t",
        ),
        ("pvpanic,events=300", "Parameter 'events' expects uint8_t"),
        (
            "virtio-rng-pci,addr=1f.9",
            "Property 'virtio-rng-pci.addr' doesn't take value '1f.9'",
        ),
        (
            "ide-hd,werror=nix",
            "Parameter 'werror' does not accept value 'nix'",
        ),
        ("ide-hd,wwn=1", "property 'ide-hd.wwn' is not supported yet"),
        ("isa-debug-exit,iobase=0x501,id=e", ""),
        ("isa-debug-exit,iobase=02401", ""),
    ] {
        assert_eq!(refusal(text), wanted, "{text}");
    }
}

#[test]
fn help_of_a_device_has_the_form_of_the_reference() {
    let help = |name: &str| find(name).expect("a device").help();
    let wanted = "isa-debug-exit options:\n  iobase=<uint32>        -  (default: 1281)\n  iosize=<uint32>        -  (default: 2)\n";
    assert_eq!(help("isa-debug-exit"), wanted);
    assert_eq!(help("pc-testdev"), "There are no options for pc-testdev.\n");
    let disk = help("virtio-blk");
    assert!(disk.contains("  bootindex=<int32>\n"), "{disk}");
    assert!(
        disk.contains(
            "  drive=<str>            - Node name or ID of a block device to use as a backend\n"
        ),
        "{disk}"
    );
    assert!(disk.contains("  rerror=<BlockdevOnError> - Error handling policy, report/ignore/enospc/stop/auto (default: \"auto\")\n"), "{disk}");
}

#[test]
fn the_list_has_every_device_once() {
    let text = help();
    let names: BTreeSet<&str> = DEVICES.iter().map(|device| device.name).collect();
    assert_eq!(names.len(), DEVICES.len());
    assert_eq!(
        text.lines()
            .filter(|line| line.starts_with("name "))
            .count(),
        names.len()
    );
    assert!(
        text.starts_with(
            "Storage devices:\nname \"ide-cd\", bus IDE, desc \"virtual IDE CD-ROM\"\n"
        ),
        "{text}"
    );
    assert!(
        text.contains(
            "\n\nNetwork devices:\nname \"virtio-net-pci\", bus PCI, alias \"virtio-net\"\n\n"
        ),
        "{text}"
    );
}

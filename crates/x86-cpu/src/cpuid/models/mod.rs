//! Named CPU models: what a processor that carries the name can do (Intel SDM volume 2, CPUID; AMD APM volume 3).

mod amd;
mod generic;
mod intel;
mod intel_server;
mod notes;

use std::fmt;

use super::names::NAMES;
use super::{ABILITIES, Feature, Features, LEAVES, Leaf};

/// A model.
struct Model {
    name: &'static str,
    vendor: [u8; 12],
    version: (u32, u32, u32),
    level: u32,
    extended_level: u32,
    brand: &'static str,
    words: [u32; LEAVES],
    variants: &'static [Variant],
}

/// A version of a model: what it changes over the version before.
struct Variant {
    number: u32,
    alias: &'static str,
    changes: &'static [Change],
}

/// One change.
enum Change {
    Feature(&'static str, bool),
    Brand(&'static str),
    Model(u32),
    Stepping(u32),
}

/// All models, by list.
const LISTS: &[&[Model]] = &[
    generic::MODELS,
    intel::MODELS,
    intel_server::MODELS,
    amd::MODELS,
];

/// The words in the order in which missing bits are reported.
const REPORTED: [(Leaf, &str); LEAVES] = [
    (Leaf::L1Edx, "CPUID.01H:EDX"),
    (Leaf::L1Ecx, "CPUID.01H:ECX"),
    (Leaf::L7Ebx, "CPUID.07H:EBX"),
    (Leaf::L7Ecx, "CPUID.07H:ECX"),
    (Leaf::L7Edx, "CPUID.07H:EDX"),
    (Leaf::L71Eax, "CPUID.07H:EAX"),
    (Leaf::X1Edx, "CPUID.80000001H:EDX"),
    (Leaf::X1Ecx, "CPUID.80000001H:ECX"),
    (Leaf::X7Edx, "CPUID.80000007H:EDX"),
    (Leaf::X8Ebx, "CPUID.80000008H:EBX"),
    (Leaf::D1Eax, "CPUID.0DH:EAX"),
    (Leaf::L6Eax, "CPUID.06H:EAX"),
];

/// Bits of leaf 1 EDX that AMD's processors repeat in leaf 0x80000001.
const REPEATED: u32 = 0x0183_f3ff;

/// A counter whose rate never changes: true of this one, but not of the host that a machine may move to.
const INVARIANT_TSC: Feature = Feature(Leaf::X7Edx, 8);

/// Why there is no such processor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelError {
    /// No model has the name.
    Unknown(String),
    /// The model is the host's own processor.
    Host,
    /// No feature has the name.
    Feature(String),
}

impl fmt::Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => write!(f, "unable to find CPU model '{name}'"),
            Self::Host => f.write_str("CPU model 'host' requires KVM or HVF"),
            Self::Feature(name) => write!(f, "Property 'cpu.{name}' not found"),
        }
    }
}

impl std::error::Error for ModelError {}

/// A processor made from a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// What it can do.
    pub features: Features,
    /// What the model or the caller wanted and `exec` cannot do, as `CPUID.01H:ECX.dtes64 [bit 2]`.
    pub missing: Vec<String>,
}

/// Whether two feature names are the same: `-` and `_` do not differ.
fn same(a: &str, b: &str) -> bool {
    let plain = |c: u8| if c == b'_' { b'-' } else { c };
    a.len() == b.len() && a.bytes().zip(b.bytes()).all(|(a, b)| plain(a) == plain(b))
}

/// The bit with a name.
pub fn feature(name: &str) -> Option<Feature> {
    NAMES
        .iter()
        .find(|(known, _, _)| same(known, name))
        .map(|(_, leaf, bit)| Feature(*leaf, *bit))
}

/// What is changed of a model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Features switched by name, in this order.
    pub features: Vec<(String, bool)>,
    /// Vendor.
    pub vendor: Option<[u8; 12]>,
    /// Family.
    pub family: Option<u32>,
    /// Model.
    pub model: Option<u32>,
    /// Stepping.
    pub stepping: Option<u32>,
    /// Brand string.
    pub brand: Option<String>,
    /// Highest basic leaf.
    pub level: Option<u32>,
    /// Highest extended leaf.
    pub extended_level: Option<u32>,
    /// `max` has what a machine that moves to another host must not have, too.
    pub everything: bool,
}

impl Changes {
    fn identity(&self, of: &mut Features) {
        of.vendor = self.vendor.unwrap_or(of.vendor);
        let (family, model, stepping) = of.version;
        of.version = (
            self.family.unwrap_or(family),
            self.model.unwrap_or(model),
            self.stepping.unwrap_or(stepping),
        );
        if let Some(text) = &self.brand {
            of.brand = brand(text);
        }
        of.level = self.level.unwrap_or(of.level);
        of.extended_level = self.extended_level.unwrap_or(of.extended_level);
    }
}

/// All models with a line about each: first those with makers, then the others.
pub fn list() -> Vec<(String, String)> {
    let mut out = Vec::new();
    for model in LISTS.iter().copied().flatten() {
        let name = model.name;
        out.push((
            name.to_owned(),
            "(alias configured by machine type)".to_owned(),
        ));
        let mut brand = model.brand;
        let first = (name.to_owned() + "-v1", brand.to_owned());
        out.push(first);
        for variant in model.variants {
            for change in variant.changes {
                if let Change::Brand(text) = change {
                    brand = text;
                }
            }
            let full = format!("{name}-v{}", variant.number);
            if !variant.alias.is_empty() {
                out.push((variant.alias.to_owned(), format!("(alias of {full})")));
            }
            if variant.number > 1 {
                let note = notes::NOTES.iter().find(|(of, _)| *of == full);
                let note = note.map_or(String::new(), |(_, note)| format!(" [{note}]"));
                out.push((full, format!("{brand}{note}")));
            }
        }
    }
    out.sort_unstable();
    let others = [
        ("base", "base CPU model type with no features enabled"),
        ("host", "processor with all supported host features "),
        (
            "max",
            "Enables all features supported by the accelerator in the current host",
        ),
    ];
    out.extend(others.map(|(name, about)| (name.to_owned(), about.to_owned())));
    out
}

/// The names of all features, in order.
pub fn flags() -> Vec<&'static str> {
    let mut out: Vec<&str> = NAMES.iter().map(|(name, _, _)| *name).collect();
    out.sort_unstable();
    out.dedup();
    out
}

/// The names of all models and their versions, in no order.
pub fn names() -> Vec<String> {
    let mut out: Vec<String> = vec!["base".to_owned(), "max".to_owned()];
    for model in LISTS.iter().copied().flatten() {
        out.push(model.name.to_owned());
        out.push(format!("{}-v1", model.name));
        for variant in model.variants {
            if variant.number > 1 {
                out.push(format!("{}-v{}", model.name, variant.number));
            }
            if !variant.alias.is_empty() {
                out.push(variant.alias.to_owned());
            }
        }
    }
    out
}

/// A model and the version that a name means.
fn find(name: &str) -> Option<(&'static Model, u32)> {
    for model in LISTS.iter().copied().flatten() {
        if let Some(rest) = name.strip_prefix(model.name) {
            if rest.is_empty() || rest == "-v1" {
                return Some((model, 1));
            }
            let number = rest.strip_prefix("-v").and_then(|n| n.parse::<u32>().ok());
            if let Some(number) = number.filter(|n| model.variants.iter().any(|v| v.number == *n)) {
                return Some((model, number));
            }
        }
        if let Some(variant) = model
            .variants
            .iter()
            .find(|v| !v.alias.is_empty() && v.alias == name)
        {
            return Some((model, variant.number));
        }
    }
    None
}

fn brand(text: &str) -> [u8; 48] {
    let mut out = [0; 48];
    for (into, byte) in out.iter_mut().zip(text.bytes().take(47)) {
        *into = byte;
    }
    out
}

impl Model {
    fn features(&self, version: u32) -> Features {
        let mut out = Features {
            vendor: self.vendor,
            version: self.version,
            level: self.level,
            extended_level: self.extended_level,
            brand: brand(self.brand),
            words: self.words,
        };
        for variant in self
            .variants
            .iter()
            .filter(|variant| variant.number <= version)
        {
            for change in variant.changes {
                match *change {
                    Change::Feature(name, on) => {
                        if let Some(bit) = feature(name) {
                            out.set(bit, on);
                        }
                    }
                    Change::Brand(text) => out.brand = brand(text),
                    Change::Model(model) => out.version.1 = model,
                    Change::Stepping(stepping) => out.version.2 = stepping,
                }
            }
        }
        // Every guest is told that it is one; virtual-8086 extensions are left out of named models.
        out.set(Feature(Leaf::L1Ecx, 31), true);
        out.set(Feature(Leaf::L1Edx, 1), false);
        out
    }
}

/// Makes the processor with a model's name, changed.
///
/// # Errors
/// No such model or feature.
pub fn make(name: &str, changes: &Changes) -> Result<Made, ModelError> {
    let mut wanted = match name {
        "max" => Features::default(),
        "base" => Features {
            words: [0; LEAVES],
            ..Features::default()
        },
        "host" => return Err(ModelError::Host),
        _ => {
            let (model, version) =
                find(name).ok_or_else(|| ModelError::Unknown(name.to_owned()))?;
            model.features(version)
        }
    };
    // GAP: no virtual machines within virtual machines; a model's SVM bit goes without a word, one that is asked for is reported.
    wanted.set(Feature(Leaf::X1Ecx, 2), false);
    wanted.set(INVARIANT_TSC, name == "max" && changes.everything);
    changes.identity(&mut wanted);
    for (name, on) in &changes.features {
        let bit = feature(name).ok_or_else(|| ModelError::Feature(name.clone()))?;
        wanted.set(bit, *on);
    }
    if wanted.vendor != *b"GenuineIntel" && wanted.extended_level != 0 {
        let repeated = wanted.word(Leaf::L1Edx) & REPEATED;
        let word = &mut wanted.words[Leaf::X1Edx as usize];
        *word = *word & !REPEATED | repeated;
    }
    let mut missing = Vec::new();
    for (leaf, text) in REPORTED {
        let lacks = wanted.words[leaf as usize] & !ABILITIES[leaf as usize];
        for bit in (0..32).filter(|bit| lacks >> bit & 1 != 0) {
            let known = NAMES.iter().find(|(_, l, b)| *l == leaf && *b == bit);
            let name = known.map_or(String::new(), |(name, _, _)| format!(".{name}"));
            missing.push(format!("{text}{name} [bit {bit}]"));
        }
        wanted.words[leaf as usize] &= ABILITIES[leaf as usize];
    }
    Ok(Made {
        features: wanted,
        missing,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(name: &str) -> Result<Made, ModelError> {
        make(name, &Changes::default())
    }

    fn with(names: &[&str]) -> Changes {
        Changes {
            features: names
                .iter()
                .map(|name| ((*name).to_owned(), true))
                .collect(),
            ..Changes::default()
        }
    }

    #[test]
    fn an_invariant_counter_is_there_when_asked_for() {
        assert!(!plain("max").expect("known").features.has(INVARIANT_TSC));
        let asked = make("qemu64", &with(&["invtsc"])).expect("known");
        assert_eq!(asked.missing, Vec::<String>::new());
        assert!(asked.features.has(INVARIANT_TSC));
    }

    #[test]
    fn every_name_makes_a_processor() {
        for name in names() {
            let made = plain(&name).expect("known");
            assert!(made.features.level > 0, "{name}");
        }
    }

    #[test]
    fn what_is_asked_for_and_missing_is_said() {
        let made = plain("qemu64").expect("known");
        assert_eq!(made.missing, Vec::<String>::new());
        assert_eq!(made.features.signature(), 0x6_0fb1);
        let made = make("qemu64", &with(&["dtes64", "svm"])).expect("known");
        assert_eq!(
            made.missing,
            [
                "CPUID.01H:ECX.dtes64 [bit 2]",
                "CPUID.80000001H:ECX.svm [bit 2]"
            ]
        );
        assert_eq!(
            make("qemu64", &with(&["nonsense"])),
            Err(ModelError::Feature("nonsense".to_owned()))
        );
        assert_eq!(plain("host"), Err(ModelError::Host));
        assert_eq!(
            plain("Pentium9"),
            Err(ModelError::Unknown("Pentium9".to_owned()))
        );
    }

    #[test]
    fn versions_and_aliases_differ() {
        let whole = plain("Skylake-Client").expect("known");
        let without = plain("Skylake-Client-noTSX-IBRS").expect("known");
        assert!(whole.missing.iter().any(|m| m.contains(".hle")));
        assert!(!without.missing.iter().any(|m| m.contains(".hle")));
        assert_eq!(plain("Skylake-Client-v1"), Ok(whole));
    }
}

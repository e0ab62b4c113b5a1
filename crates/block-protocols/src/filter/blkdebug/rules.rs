//! The rules of a blkdebug node: what is to happen at which event, in which state.

use block_core::Event;
use qapi::{Dict, Error, Value, opts};

use crate::filter::options::take_small;

/// Kinds of requests that an error can be put into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IoType {
    Read,
    Write,
    WriteZeroes,
    Discard,
    Flush,
    BlockStatus,
}

impl IoType {
    const NAMES: [(&'static str, Self); 6] = [
        ("read", Self::Read),
        ("write", Self::Write),
        ("write-zeroes", Self::WriteZeroes),
        ("discard", Self::Discard),
        ("flush", Self::Flush),
        ("block-status", Self::BlockStatus),
    ];
}

/// What a rule does.
#[derive(Debug, Clone)]
pub(super) enum Action {
    InjectError(Inject),
    SetState(u32),
    Suspend(String),
}

/// An error to be put into requests.
#[derive(Debug, Clone)]
pub(super) struct Inject {
    /// `None`: all but block status.
    iotype: Option<IoType>,
    pub(super) errno: u32,
    pub(super) once: bool,
    pub(super) immediately: bool,
    /// Only into requests that touch this byte.
    offset: Option<u64>,
}

/// One rule.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) id: u64,
    pub(super) event: Event,
    /// 0: in any state.
    pub(super) state: u32,
    pub(super) action: Action,
}

/// All rules, newest first, and the state that they depend on.
#[derive(Debug)]
pub(super) struct Rules {
    state: u32,
    next: u64,
    rules: Vec<Rule>,
    /// Rules that put errors into what comes, newest first.
    active: Vec<u64>,
}

const EIO: u32 = 5;

impl Rules {
    pub(super) fn new() -> Self {
        Self {
            state: 1,
            next: 0,
            rules: Vec::new(),
            active: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, event: Event, state: u32, action: Action) {
        self.next += 1;
        let rule = Rule {
            id: self.next,
            event,
            state,
            action,
        };
        self.rules.insert(0, rule);
    }

    /// Adds a rule of a section, all of whose options it takes.
    pub(super) fn add_section(&mut self, group: &str, options: &mut Dict) -> qapi::Result<()> {
        for name in ["once", "immediately"] {
            if let Some(Value::Str(text)) = options.get(name) {
                opts::parse_bool(name, text)?;
            }
        }
        let name = opts::take_str(options, "event")?
            .ok_or_else(|| Error::new("Missing event name for rule"))?;
        let event = Event::parse(&name)
            .ok_or_else(|| Error::new(format!("invalid parameter value: {name}")))?;
        let state = take_small(options, "state")?.unwrap_or(0);
        let action = if group == "inject-error" {
            Action::InjectError(Inject::take(options)?)
        } else {
            Action::SetState(take_small(options, "new_state")?.unwrap_or(0))
        };
        self.add(event, state, action);
        Ok(())
    }

    /// An event comes to pass; gives back the tags under which the request is to be held back.
    pub(super) fn process(&mut self, event: Event) -> Vec<String> {
        let mut state = self.state;
        let (mut tags, mut active, mut done) = (Vec::new(), Vec::new(), Vec::new());
        for rule in &self.rules {
            if rule.event != event || (rule.state != 0 && rule.state != self.state) {
                continue;
            }
            match &rule.action {
                Action::InjectError(_) => active.insert(0, rule.id),
                Action::SetState(new) => state = *new,
                Action::Suspend(tag) => {
                    tags.push(tag.clone());
                    done.push(rule.id);
                }
            }
        }
        if !active.is_empty() {
            self.active = active;
        }
        self.rules.retain(|rule| !done.contains(&rule.id));
        self.state = state;
        tags
    }

    /// The error that a request meets, if any.
    pub(super) fn check(&mut self, iotype: IoType, offset: u64, len: u64) -> Option<Inject> {
        let hit = self.active.iter().find_map(|id| {
            let rule = self.rules.iter().find(|rule| rule.id == *id)?;
            match &rule.action {
                Action::InjectError(inject) if inject.meets(iotype, offset, len) => {
                    Some((*id, inject.clone()))
                }
                _ => None,
            }
        });
        let (id, inject) = hit.filter(|(_, inject)| inject.errno != 0)?;
        if inject.once {
            self.active.retain(|other| *other != id);
            self.rules.retain(|rule| rule.id != id);
        }
        Some(inject)
    }

    /// Takes breakpoints away; whether there were any.
    pub(super) fn remove_breaks(&mut self, tag: &str) -> bool {
        let before = self.rules.len();
        self.rules
            .retain(|rule| !matches!(&rule.action, Action::Suspend(t) if t == tag));
        self.rules.len() != before
    }
}

impl Inject {
    fn take(options: &mut Dict) -> qapi::Result<Self> {
        let errno = take_small(options, "errno")?.unwrap_or(EIO);
        let once = opts::take_bool(options, "once")?.unwrap_or(false);
        let immediately = opts::take_bool(options, "immediately")?.unwrap_or(false);
        let sector = opts::take_number(options, "sector")?.filter(|sector| *sector != u64::MAX);
        let iotype = match opts::take_str(options, "iotype")? {
            None => None,
            Some(name) => {
                let known = IoType::NAMES.iter().find(|(known, _)| *known == name);
                let (_, kind) =
                    known.ok_or_else(|| Error::new(format!("invalid parameter value: {name}")))?;
                Some(*kind)
            }
        };
        Ok(Self {
            iotype,
            errno,
            once,
            immediately,
            offset: sector.map(|sector| sector.saturating_mul(512)),
        })
    }

    fn meets(&self, iotype: IoType, offset: u64, len: u64) -> bool {
        let place = self
            .offset
            .is_none_or(|at| at >= offset && at - offset < len);
        let kind = match self.iotype {
            None => iotype != IoType::BlockStatus,
            Some(kind) => kind == iotype,
        };
        place && kind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(pairs: &[(&str, &str)]) -> Dict {
        let mut options = Dict::new();
        for (name, value) in pairs {
            options.insert(*name, *value);
        }
        options
    }

    #[test]
    fn an_error_comes_after_its_event_and_once_only() {
        let mut rules = Rules::new();
        let mut options = section(&[("event", "write_aio"), ("errno", "28"), ("once", "on")]);
        rules.add_section("inject-error", &mut options).unwrap();
        assert!(rules.check(IoType::Write, 0, 512).is_none());
        rules.process(Event::WriteAio);
        assert_eq!(rules.check(IoType::Write, 0, 512).unwrap().errno, 28);
        assert!(rules.check(IoType::Write, 0, 512).is_none());
    }

    #[test]
    fn a_sector_and_a_kind_of_request_narrow_a_rule() {
        let mut rules = Rules::new();
        let mut options = section(&[("event", "none"), ("sector", "2"), ("iotype", "discard")]);
        rules.add_section("inject-error", &mut options).unwrap();
        rules.process(Event::None);
        assert!(rules.check(IoType::Discard, 0, 1024).is_none());
        assert!(rules.check(IoType::Write, 0, 4096).is_none());
        assert!(rules.check(IoType::Discard, 512, 1024).is_some());
    }

    #[test]
    fn rules_wait_for_their_state() {
        let mut rules = Rules::new();
        let mut first = section(&[("event", "read_aio"), ("state", "1"), ("new_state", "2")]);
        rules.add_section("set-state", &mut first).unwrap();
        let mut then = section(&[("event", "read_aio"), ("state", "2")]);
        rules.add_section("inject-error", &mut then).unwrap();
        rules.process(Event::ReadAio);
        assert!(rules.check(IoType::Read, 0, 1).is_none());
        rules.process(Event::ReadAio);
        assert!(rules.check(IoType::Read, 0, 1).is_some());
    }

    #[test]
    fn an_unknown_event_is_refused() {
        let error = Rules::new()
            .add_section("inject-error", &mut section(&[("event", "lunch")]))
            .unwrap_err();
        assert_eq!(error.message(), "invalid parameter value: lunch");
    }
}

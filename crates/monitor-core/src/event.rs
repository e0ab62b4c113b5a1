//! Events: what a program tells unasked, at most once a second where a guest could make too many.

use std::collections::HashMap;
use std::time::Duration;

use qapi::schema::{Schema, TypeRef};
use qapi::{Dict, Value};

/// An event that a program may tell.
pub struct EventDesc {
    /// On the wire.
    pub name: &'static str,
    /// The type of its data.
    pub describe: fn(&mut Schema) -> Option<TypeRef>,
    /// It may come more often than anybody can read: told once a second. Events with the same value of this member
    /// (an empty name: all of them) stand for each other.
    pub limited_by: Option<&'static str>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its name.
    pub name: &'static str,
    /// Its data.
    pub data: Option<Dict>,
    /// When, since 1970.
    pub time: Duration,
}

impl Event {
    /// As it goes over the wire, without the line end.
    pub fn to_dict(&self) -> Dict {
        let mut time = Dict::new();
        time.insert("seconds", self.time.as_secs());
        time.insert("microseconds", self.time.subsec_micros());
        let mut out = Dict::new();
        out.insert("timestamp", time);
        out.insert("event", self.name);
        if let Some(data) = &self.data {
            out.insert("data", data.clone());
        }
        out
    }
}

/// Between two events of one kind that is limited.
const PERIOD: Duration = Duration::from_secs(1);

/// Holds back events that come too often. The first of a kind goes out at once; of those that follow within a second the
/// last goes out when it is over.
#[derive(Debug, Default)]
pub struct Limiter {
    waiting: HashMap<(&'static str, String), Waiting>,
}

#[derive(Debug)]
struct Waiting {
    until: Duration,
    event: Option<Event>,
}

impl Limiter {
    /// An event that happened at its time; given back when it goes out now.
    pub fn offer(&mut self, event: Event, limited_by: Option<&str>) -> Option<Event> {
        let Some(member) = limited_by else {
            return Some(event);
        };
        let key = (event.name, value_of(&event, member));
        if let Some(waiting) = self.waiting.get_mut(&key)
            && event.time < waiting.until
        {
            waiting.event = Some(event);
            return None;
        }
        let until = event.time + PERIOD;
        self.waiting.insert(key, Waiting { until, event: None });
        Some(event)
    }

    /// Events whose time has come.
    pub fn due(&mut self, now: Duration) -> Vec<Event> {
        let mut out = Vec::new();
        self.waiting.retain(|_, waiting| {
            if now < waiting.until {
                return true;
            }
            match waiting.event.take() {
                Some(event) => {
                    waiting.until = now + PERIOD;
                    out.push(event);
                    true
                }
                None => false,
            }
        });
        out.sort_by_key(|event| event.time);
        out
    }

    /// When to ask [`Self::due`] next.
    pub fn next(&self) -> Option<Duration> {
        let held = self.waiting.values().filter(|w| w.event.is_some());
        held.map(|w| w.until).min()
    }
}

fn value_of(event: &Event, member: &str) -> String {
    match event.data.as_ref().and_then(|data| data.get(member)) {
        Some(Value::Str(text)) => text.clone(),
        Some(other) => qapi::json::compact(other),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests;

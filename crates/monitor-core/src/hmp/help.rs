//! `help`: one line a command, sorted by name.

use super::{Hmp, HmpCommand, Registers, unknown};

impl<C: Registers> Hmp<C> {
    /// The text of `help WORD`; all commands when there is no word, all items behind `info`.
    pub(super) fn help(&self, word: &str) -> String {
        let mut words = word.split_whitespace();
        let one = |found: Option<&HmpCommand<C>>, prefix: &str| {
            found.map_or_else(|| unknown(word), |c| format!("{prefix}{}", row(c)))
        };
        match (words.next(), words.next()) {
            (None, _) => sorted(&self.commands).into_iter().map(row).collect(),
            (Some("info"), None) => {
                let items = sorted(&self.items).into_iter();
                items.map(|c| format!("info {}", row(c))).collect()
            }
            (Some("info"), Some(item)) => one(self.item(item), "info "),
            (Some(name), _) => one(self.command(name), ""),
        }
    }
}

fn sorted<C>(lists: &[&'static [HmpCommand<C>]]) -> Vec<&'static HmpCommand<C>> {
    let mut all: Vec<_> = lists.iter().copied().flatten().collect();
    all.sort_by_key(|c| c.name);
    all
}

fn row<C>(command: &HmpCommand<C>) -> String {
    format!("{} {} -- {}\n", command.name, command.params, command.help)
}

//! Objects beside disks and devices.

use qapi::Error;

use super::{Action, OptionEntry};
use crate::objects::{MISSING, OBJECTS};

pub(super) const OPTIONS: &[OptionEntry] = &[OptionEntry {
    name: "object",
    argument: "typename,id=id[,prop1=value1,...]",
    help: "create a new object ('-object help' for a list)",
    action: Action::Value(|plan, text| {
        let kind = text.split(',').next().unwrap_or("");
        let kind = kind.strip_prefix("qom-type=").unwrap_or(kind);
        if MISSING.contains(&kind) {
            let text = format!("object type '{kind}' is not supported yet");
            return Err(Error::new(text));
        }
        plan.objects.push(text.to_owned());
        Ok(())
    }),
}];

/// What `-object help` prints.
pub(super) fn types() -> String {
    let mut names: Vec<&str> = OBJECTS
        .iter()
        .flat_map(|list| list.iter().map(|kind| kind.name))
        .collect();
    names.sort_unstable();
    let lines = names.iter().map(|name| format!("  {name}\n"));
    format!(
        "List of user creatable objects:\n{}",
        lines.collect::<String>()
    )
}

//! The command line: what it asks for, in the order in which the reference looks at it.

use std::process::ExitCode;

use crypto::tls::{self, Endpoint};
use qapi::getopt;
use qapi::{Error, Result};
use tool_cli::trace;

use crate::kernel::{detach, devices};
use crate::listen;
use crate::options::{self, OPTIONS, OWN, SHEET};
use crate::settings::Settings;
use crate::{list, server};

/// Why nothing was done.
enum Stop {
    /// All is said.
    Done(ExitCode),
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Runs the tool to its exit code.
pub(crate) fn run(words: &[String]) -> ExitCode {
    if words.first().is_some_and(|w| w == "generate") {
        return tool_cli::exit_code(tool_cli::generate(&words[1..], SHEET.whole()));
    }
    let outcome = read(words).and_then(|settings| act(settings).map_err(Stop::Failed));
    match outcome {
        Ok(code) | Err(Stop::Done(code)) => code,
        Err(Stop::Failed(error)) => tool_cli::exit_code(Err(error)),
    }
}

/// The name as called, with its folder: what getopt and its followers say.
fn called() -> String {
    let name = std::env::args_os().next().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Takes out the words that the reference does not know; they are never abbreviated.
fn take_own(words: &[String], settings: &mut Settings) -> Result<Vec<String>> {
    let mut rest = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == "--" {
            rest.push(word.clone());
            rest.extend(words.by_ref().cloned());
            break;
        }
        let (name, given) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word.as_str(), None),
        };
        let own = OWN.iter().filter_map(|e| Some((e.opt.long?, e.opt.value)));
        let found = own
            .into_iter()
            .find(|(long, _)| name.strip_prefix("--") == Some(*long));
        match found {
            Some((long, true)) => {
                let value = given.or_else(|| words.next().map(String::as_str));
                let value = value
                    .ok_or_else(|| Error::new(format!("option '--{long}' requires an argument")))?;
                settings.take(long, value)?;
            }
            Some((long, false)) if given.is_none() => settings.take(long, "")?,
            _ => rest.push(word.clone()),
        }
    }
    Ok(rest)
}

/// Reads the words and checks that they fit together.
fn read(words: &[String]) -> Result<Settings, Stop> {
    let mut settings = Settings::default();
    let words = take_own(words, &mut settings)?;
    let (parsed, wrong) = getopt::parse_until(&tool_cli::for_getopt(OPTIONS), &words);
    for (name, value) in &parsed.options {
        match name.as_str() {
            "h" => {
                options::usage();
                return Err(Stop::Done(ExitCode::SUCCESS));
            }
            "V" => {
                options::version();
                return Err(Stop::Done(ExitCode::SUCCESS));
            }
            "T" if value
                .as_ref()
                .is_some_and(|v| trace::help(std::slice::from_ref(v))) =>
            {
                return Err(Stop::Done(ExitCode::SUCCESS));
            }
            _ => settings.take(name, value.as_deref().unwrap_or_default())?,
        }
    }
    if let Some(message) = wrong {
        eprintln!("{}: {message}", called());
        let hint = format!("Try `{} --help' for more information.", called());
        return Err(Error::new(hint).into());
    }
    check_mode(&mut settings, &parsed.operands)?;
    Ok(settings)
}

/// Checks that the kind of work has the operands it needs and nothing that it cannot use.
fn check_mode(settings: &mut Settings, operands: &[String]) -> Result<(), Stop> {
    if settings.devices || settings.cleanup {
        if !operands.is_empty() {
            return Err(Error::new("--devices and --cleanup take no file name").into());
        }
        return Ok(());
    }
    if settings.list {
        if !operands.is_empty() {
            return Err(Error::new("List mode is incompatible with a file name").into());
        }
        if settings.about_disk() {
            return Err(Error::new("List mode is incompatible with per-device settings").into());
        }
        if settings.fork {
            return Err(Error::new("List mode is incompatible with forking").into());
        }
        return Ok(());
    }
    match operands {
        [file] => {
            settings.file.clone_from(file);
            Ok(())
        }
        _ => {
            qapi::report(&Error::new("Invalid number of arguments"));
            eprintln!("Try `{} --help' for more information.", called());
            Err(Stop::Done(ExitCode::FAILURE))
        }
    }
}

/// A socket of systemd's excludes every option that says where to listen.
fn check_activation(settings: &Settings, sockets: usize) -> Result<()> {
    if sockets == 0 {
        return Ok(());
    }
    let refusals = [
        (
            settings.device.is_some(),
            "NBD device can't be set when using socket activation",
        ),
        (
            settings.socket.is_some(),
            "Unix socket can't be set when using socket activation",
        ),
        (
            settings.bind.is_some(),
            "The interface can't be set when using socket activation",
        ),
        (
            settings.port.is_some(),
            "TCP port number can't be set when using socket activation",
        ),
        (
            settings.selinux_label.is_some(),
            "SELinux label can't be set when using socket activation",
        ),
        (
            settings.list,
            "List mode is incompatible with socket activation",
        ),
        (
            sockets > 1,
            "qemu-nbd does not support socket activation with LISTEN_FDS > 1",
        ),
    ];
    match refusals.iter().find(|(wrong, _)| *wrong) {
        Some((_, words)) => Err(Error::new(*words)),
        None => Ok(()),
    }
}

fn check_tls(settings: &mut Settings) -> Result<()> {
    let Some(id) = &settings.tls_creds else {
        for (given, name) in [
            (settings.tls_authz.is_some(), "--tls-authz"),
            (settings.tls_hostname.is_some(), "--tls-hostname"),
        ] {
            if given {
                return Err(Error::new(format!(
                    "{name} is not permitted without --tls-creds"
                )));
            }
        }
        return Ok(());
    };
    if settings.device.is_some() {
        return Err(Error::new("TLS is not supported with a host device"));
    }
    if settings.tls_authz.is_some() && settings.list {
        return Err(Error::new(
            "TLS authorization is incompatible with export list",
        ));
    }
    if settings.tls_hostname.is_some() && !settings.list {
        return Err(Error::new(
            "TLS hostname is only supported with export list",
        ));
    }
    let end = if settings.list {
        Endpoint::Client
    } else {
        Endpoint::Server
    };
    let found = tls::credentials(settings.objects.find(id), id, end);
    settings.tls = Some(found.map_err(|e| e.prefix("Failed to get TLS creds: "))?);
    Ok(())
}

fn act(mut settings: Settings) -> Result<ExitCode> {
    let done = |()| ExitCode::SUCCESS;
    if settings.devices {
        devices::show(settings.json);
        return Ok(ExitCode::SUCCESS);
    }
    if settings.cleanup {
        return devices::cleanup().map(done);
    }
    let sockets = listen::activation()?;
    check_activation(&settings, sockets)?;
    check_tls(&mut settings)?;
    if settings.selinux_label.is_some() && settings.socket.is_none() && settings.device.is_none() {
        return Err(Error::new(
            "--selinux-label is not permitted without --socket",
        ));
    }
    if settings.list {
        let address = listen::address(
            settings.socket.as_deref(),
            settings.bind.as_deref(),
            settings.port.as_deref(),
        );
        return list::run(&address, &settings).map(done);
    }
    if settings.disconnect {
        return detach::run(&settings.file).map(done);
    }
    if let (Some(device), None) = (&settings.device, &settings.socket) {
        let base = device.rsplit('/').next().unwrap_or(device);
        settings.socket = Some(format!("/var/lock/qemu-nbd-{base}"));
    }
    server::run(settings, sockets > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn own_words_are_taken_out_and_others_stay() {
        let mut settings = Settings::default();
        let given = words("--json -r --allow-path=/a --allow-path /b --dev -- --json");
        let rest = take_own(&given, &mut settings).unwrap();
        assert_eq!(rest, words("-r --dev -- --json"));
        assert!(settings.json && !settings.devices);
        assert_eq!(settings.allow, ["/a", "/b"]);
    }

    #[test]
    fn socket_activation_excludes_places_to_listen() {
        let settings = Settings {
            port: Some("1".to_owned()),
            ..Settings::default()
        };
        assert!(check_activation(&settings, 0).is_ok());
        let error = check_activation(&settings, 1).unwrap_err();
        assert!(error.message().starts_with("TCP port number can't"));
        let error = check_activation(&Settings::default(), 2).unwrap_err();
        assert!(error.message().ends_with("LISTEN_FDS > 1"));
    }
}

//! Networks: `-netdev`, `-nic`, `-net none`.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ::machine::device::DeviceOption;
use net_backends::socket::Spec;
use qapi::{Error, Result};

use super::{Action, OptionEntry, values};
use crate::plan::{NetworkRequest, Plan};

pub(super) const OPTIONS: &[OptionEntry] = &[
    OptionEntry {
        name: "netdev",
        argument: "socket,id=str[,listen=[host]:port|,connect=host:port|,mcast=group:port[,localaddr=addr]|,udp=host:port,localaddr=host:port]",
        help: "a network for -device virtio-net-pci,netdev=str",
        action: Action::Value(|plan, text| {
            let mut given = pairs(text)?;
            let id = given
                .remove("id")
                .ok_or_else(|| Error::new("Parameter 'id' is missing"))?;
            network(plan, text, id, given)
        }),
    },
    OptionEntry {
        name: "nic",
        argument: "none|socket,model=virtio-net-pci[,mac=addr][,...]",
        help: "a network and a card on it",
        action: Action::Value(nic),
    },
    OptionEntry {
        name: "net",
        argument: "none",
        help: "no network card",
        action: Action::Value(|_, text| match text {
            "none" => Ok(()),
            // GAP: no hubs; other values are refused
            _ => Err(Error::new(
                "only 'none' is supported yet; use -nic or -netdev",
            )),
        }),
    },
];

type Given = BTreeMap<String, String>;

fn pairs(text: &str) -> Result<Given> {
    let mut given = Given::new();
    for (name, value) in values::pairs(text, "type") {
        given.insert(name, value);
    }
    match given.get("type").map(String::as_str) {
        Some("socket") => Ok(given),
        // GAP: the other kinds.
        Some(
            kind @ ("user" | "tap" | "bridge" | "stream" | "dgram" | "hubport" | "l2tpv3"
            | "vhost-user" | "vde" | "vhost-vdpa"),
        ) => Err(Error::new(format!(
            "network backend '{kind}' is not supported yet"
        ))),
        Some(other) => Err(Error::new(format!(
            "Parameter 'type' does not accept value '{other}'"
        ))),
        None => Err(Error::new("Parameter 'type' is missing")),
    }
}

fn nic(plan: &mut Plan, text: &str) -> Result<()> {
    if text == "none" {
        return Ok(());
    }
    let mut given = pairs(text)?;
    let model = given.remove("model").unwrap_or_else(|| "e1000".to_owned());
    if !matches!(model.as_str(), "virtio" | "virtio-net-pci") {
        return Err(Error::new(format!(
            "card '{model}' is not supported yet: use model=virtio-net-pci"
        )));
    }
    let id = given
        .remove("id")
        .unwrap_or_else(|| format!("#net{}", plan.networks.len()));
    let mut properties = BTreeMap::from([("netdev".to_owned(), id.clone())]);
    if let Some(mac) = given.remove("mac") {
        properties.insert("mac".to_owned(), mac);
    }
    plan.devices.push(DeviceOption {
        text: text.to_owned(),
        driver: "virtio-net-pci".to_owned(),
        properties,
    });
    network(plan, text, id, given)
}

fn network(plan: &mut Plan, text: &str, id: String, mut given: Given) -> Result<()> {
    if plan.networks.iter().any(|other| other.id == id) {
        return Err(Error::new(format!("Duplicate ID '{id}' for netdev")));
    }
    given.remove("type");
    let local = given.remove("localaddr");
    let mut found = Vec::new();
    for (name, value) in given {
        found.push(match (name.as_str(), &local) {
            ("listen", None) => Spec::Listen(value),
            ("connect", None) => Spec::Connect(value),
            ("mcast", _) => Spec::Multicast(value, local.as_deref().map(interface).transpose()?),
            ("udp", Some(local)) => Spec::Datagram(value, local.clone()),
            ("udp", None) => return Err(Error::new("localaddr= is mandatory with udp=")),
            ("listen" | "connect", Some(_)) => {
                return Err(Error::new("localaddr= is only valid with mcast= or udp="));
            }
            (other, _) => return Err(Error::new(format!("Invalid parameter '{other}'"))),
        });
    }
    match found.pop().filter(|_| found.is_empty()) {
        Some(spec) => {
            let text = text.to_owned();
            plan.networks.push(NetworkRequest { text, id, spec });
            Ok(())
        }
        None => Err(Error::new(
            "exactly one of listen=, connect=, mcast= or udp= is required",
        )),
    }
}

fn interface(text: &str) -> Result<Ipv4Addr> {
    text.parse()
        .map_err(|_| Error::new(format!("localaddr '{text}' is no address")))
}

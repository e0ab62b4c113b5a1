//! Networks of the plan, open before the machine is built.

use std::collections::BTreeMap;

use backend_core::Wake;
use backend_core::net::Network;
use machine::MakeNetwork;
use net_backends::socket::{self, Socket, Spec};
use qapi::{Error, Result};

use crate::plan::Plan;

/// Opens what the plan names.
///
/// # Errors
/// One that cannot be opened; the option in front.
pub(crate) fn open(plan: &Plan) -> Result<BTreeMap<String, MakeNetwork>> {
    let mut networks: BTreeMap<String, MakeNetwork> = BTreeMap::new();
    for request in &plan.networks {
        let opened = socket::open(&request.spec).map_err(|error| {
            let what = match request.spec {
                Spec::Connect(_) => "can't connect socket",
                _ => "can't bind socket",
            };
            Error::from_io(format!("-netdev {}: {what}", request.text), &error)
        })?;
        let make = move |wake: Wake| {
            Socket::start(opened, wake).map(|socket| Box::new(socket) as Box<dyn Network>)
        };
        networks.insert(request.id.clone(), Box::new(make));
        let used = |device: &machine::device::DeviceOption| {
            device.properties.get("netdev") == Some(&request.id)
        };
        if !plan.devices.iter().any(used) {
            qapi::warn(&format!("netdev {} has no peer", request.id));
        }
    }
    Ok(networks)
}

//! The gate that drivers open their other children through.

use std::sync::{Arc, Mutex, PoisonError};

use block_core::{BoxFuture, Edge, Gate, Node, Perms, Role};
use object::Object;
use qapi::{Dict, Error, Value};

use crate::name::ImageName;
use crate::open::{Flags, Session};
use crate::policy;

/// Opens on behalf of one image.
pub(crate) struct ImageGate<'a> {
    pub(crate) session: &'a Session,
    /// Name of the image.
    pub(crate) image: ImageName,
    pub(crate) flags: Flags,
    pub(crate) depth: usize,
    /// Files made on the way, to be taken back when the rest fails.
    pub(crate) made: Mutex<Vec<String>>,
}

impl ImageGate<'_> {
    fn remember(&self, made: &str) {
        let mut all = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(made.to_owned());
    }
}

impl Gate for ImageGate<'_> {
    fn open_child<'a>(
        &'a self,
        role: Role,
        name: &'static str,
        options: Option<Value>,
        named_by_image: Option<&'a str>,
    ) -> BoxFuture<'a, qapi::Result<Arc<Edge>>> {
        Box::pin(async move {
            let node = match (options, named_by_image) {
                (Some(Value::Dict(options)), _) => {
                    let session = self.session;
                    session
                        .open_tree(options, self.flags, self.depth + 1)
                        .await?
                }
                (Some(Value::Str(file)), _) => {
                    let session = self.session;
                    session.open_protocol_name(&file, self.flags).await?
                }
                (None, Some(found)) => {
                    let path = self.image.resolve(found)?;
                    let allowed = &self.session.allowed;
                    policy::check(&self.image, &path, role, None, allowed)?;
                    self.session.open_protocol_name(&path, self.flags).await?
                }
                _ => {
                    return Err(Error::new(format!(
                        "A block device must be specified for \"{name}\""
                    )));
                }
            };
            Edge::attach(name, role, node, Perms::NONE, Perms::ALL)
        })
    }

    fn open_filtered<'a>(
        &'a self,
        name: &'static str,
        options: Option<Value>,
        filename: Option<&'a str>,
        guess: bool,
    ) -> BoxFuture<'a, qapi::Result<Arc<Edge>>> {
        let how = (self.flags, self.depth);
        Box::pin(
            self.session
                .open_filtered(name, options, filename, guess, how),
        )
    }

    fn object(&self, id: &str) -> Option<Object> {
        self.session.objects.find(id)
    }

    fn create_file<'a>(
        &'a self,
        filename: &'a str,
        options: &'a Dict,
    ) -> BoxFuture<'a, qapi::Result<Arc<Node>>> {
        Box::pin(async move {
            let (driver, _) = crate::create::protocol_of(filename)?;
            let create = driver.create.ok_or_else(|| {
                Error::new(format!(
                    "Protocol driver '{}' does not support image creation, and opening the image failed",
                    driver.name
                ))
            })?;
            create(filename, options).await?;
            self.remember(filename);
            self.session.open_protocol_name(filename, self.flags).await
        })
    }
}

//! Metadata contexts: what block status can tell.

use crate::bytes::{Reader, len32, put_string, text};
use crate::{ProtoError, Result};

/// Queries that a request may hold; more are answered as invalid.
const MAX_QUERIES: u32 = 10_000;

/// What `LIST_META_CONTEXT` and `SET_META_CONTEXT` ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetaRequest {
    /// Name of the export.
    pub export: String,
    /// Names of contexts, or of groups of them.
    pub queries: Vec<String>,
}

impl MetaRequest {
    /// Reads an option's payload.
    ///
    /// # Errors
    /// When its lengths do not fit.
    pub fn decode(payload: &[u8]) -> Result<Self> {
        let mut reader = Reader(payload);
        let export = reader.string()?;
        let count = reader.u32()?;
        if count > MAX_QUERIES {
            return Err(ProtoError::new("too many queries"));
        }
        let queries = (0..count).map(|_| reader.string()).collect::<Result<_>>()?;
        reader.end()?;
        Ok(Self { export, queries })
    }

    /// The option's payload.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_string(&mut out, &self.export);
        out.extend_from_slice(&len32(self.queries.len()).to_be_bytes());
        for query in &self.queries {
            put_string(&mut out, query);
        }
        out
    }
}

/// A context of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetaContext {
    /// The number that chunks use; 0 in lists.
    pub id: u32,
    /// Its name.
    pub name: String,
}

impl MetaContext {
    /// Reads a reply's payload.
    ///
    /// # Errors
    /// When it is too short or its name no text.
    pub fn decode(payload: &[u8]) -> Result<Self> {
        let mut reader = Reader(payload);
        Ok(Self {
            id: reader.u32()?,
            name: text(reader.0)?,
        })
    }

    /// The reply's payload.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.id.to_be_bytes().to_vec();
        out.extend_from_slice(self.name.as_bytes());
        out
    }
}

//! What only some formats of blocks can do: each passes on to its scheme.

use std::io;

use block_core::{
    BoxFuture, ChangeBacking, Check, CheckReport, CheckRequest, Compress, Empty, Place,
    Preallocation, Resize, ResizeRequest,
};
use qapi::Error;

use super::{Blocks, EIO, ENOTSUP, Scheme, errno, file_place};

impl<S: Scheme> Empty for Blocks<S> {
    fn make_empty(&self) -> BoxFuture<'_, qapi::Result<()>> {
        Box::pin(async move {
            let failed = |e: io::Error| Error::from_io("Could not empty the image", &e);
            let end = self.scheme.empty_end();
            let end =
                end.ok_or_else(|| Error::new("This image cannot be emptied").errno(ENOTSUP))?;
            self.begin().await.map_err(failed)?;
            self.core.tables.clear();
            self.core.tables.write_out().await.map_err(failed)?;
            self.core.file.flush().await.map_err(failed)?;
            self.core.file.truncate(end, Preallocation::Off).await?;
            self.core.set_next(end);
            Ok(())
        })
    }
}

impl<S: Scheme> Compress for Blocks<S> {
    fn pack(&self, cluster: &[u8], out: &mut Vec<u8>) -> io::Result<bool> {
        match self.scheme.packer() {
            Some(packer) => packer.pack(cluster, out),
            None => Err(errno(ENOTSUP)),
        }
    }

    fn place(&self, guest: u64, packed_len: u32) -> BoxFuture<'_, io::Result<Place>> {
        Box::pin(async move {
            self.begin().await?;
            let page = self.page(guest / self.core.block).await?;
            if page.left() == 0 {
                return Err(errno(EIO));
            }
            Ok(file_place(self.core.allocate(packed_len.into(), 0)?))
        })
    }

    fn commit_packed(
        &self,
        guest: u64,
        at: Place,
        packed_len: u32,
    ) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            let packer = self.scheme.packer().ok_or_else(|| errno(ENOTSUP))?;
            let raw = packer.packed_raw(at.offset, packed_len);
            self.set(guest / self.core.block, raw).await
        })
    }
}

impl<S: Scheme> Check for Blocks<S> {
    fn check<'a>(&'a self, request: CheckRequest<'a>) -> BoxFuture<'a, qapi::Result<CheckReport>> {
        Box::pin(async move {
            let checker = self.scheme.checker();
            let checker = checker.ok_or_else(|| Error::new("No check for this format"))?;
            let flushed = self.flush_all().await;
            flushed.map_err(|e| Error::from_io("Could not write the image", &e))?;
            checker.check(&self.core, request).await
        })
    }
}

impl<S: Scheme> Resize for Blocks<S> {
    fn resize(&self, request: ResizeRequest) -> BoxFuture<'_, qapi::Result<()>> {
        Box::pin(async move {
            if request.preallocation != Preallocation::Off {
                let name = request.preallocation.name();
                return Err(
                    Error::new(format!("Unsupported preallocation mode '{name}'")).errno(ENOTSUP),
                );
            }
            let header = self.scheme.header();
            let header = header.ok_or_else(|| Error::new("No resize for this format"))?;
            header.resize(&self.core, request.size).await
        })
    }
}

impl<S: Scheme> ChangeBacking for Blocks<S> {
    fn set_backing<'a>(
        &'a self,
        link: Option<&'a block_core::BackingLink>,
    ) -> BoxFuture<'a, qapi::Result<()>> {
        Box::pin(async move {
            let header = self.scheme.header();
            let header = header.ok_or_else(|| Error::new("No backing file for this format"))?;
            header.set_backing(&self.core, link).await
        })
    }
}

//! Tables that leave memory when nobody uses them.

use std::time::Duration;

use block_core::{ExtentKind, Slot, WriteFlags};
use qapi::Dict;

use super::image::{Shape, blank, run};
use crate::qcow2::Qcow2;
use crate::qcow2::clean::drop_unused;
use crate::qcow2::open::{self, Options};

const CLUSTER: u64 = 64 << 10;
/// Far from the start: mapped by another table.
const FAR: u64 = 1 << 30;

/// A new image with a cluster of data at each of the offsets, and where those are.
async fn image_with(offsets: &[u64]) -> (Qcow2, Vec<u64>) {
    let shape = Shape {
        cluster_bits: 16,
        order: 4,
        version: 3,
        extended: false,
        lazy: false,
    };
    let file = blank(shape, 2 * FAR).edge(false);
    let header = open::read_header(&file).await.unwrap();
    let options = Options::take(&mut Dict::new(), &header, false).unwrap();
    let data = (Slot::FILE, file.clone());
    let image = open::build(file, data, header, options, false)
        .await
        .unwrap();
    let mut places = Vec::new();
    for offset in offsets {
        let place = image.place(*offset, CLUSTER).await.unwrap();
        let bytes = vec![1; usize::try_from(CLUSTER).unwrap()];
        let to = place.at.offset;
        image
            .file
            .write(to, &bytes, WriteFlags::default())
            .await
            .unwrap();
        image.enter(&place).await.unwrap();
        places.push(to);
    }
    (image, places)
}

impl Qcow2 {
    async fn clean(&self) {
        drop_unused(&self.slices, &self.meta).await;
    }

    /// Looks at the table of an offset, if it is in memory.
    fn look(&self, offset: u64) -> bool {
        let number = self.layout.slice_of(offset);
        self.slices.with(number, |_| ()).is_some()
    }
}

#[test]
fn tables_that_nobody_looked_at_for_a_round_leave_memory() {
    run(async {
        let (image, places) = image_with(&[0, FAR]).await;
        image.write_out().await.unwrap();
        image.clean().await;
        assert!(image.look(0) && image.look(FAR), "they were just used");
        image.clean().await;
        assert!(image.look(0));
        image.clean().await;
        assert!(image.look(0) && !image.look(FAR));
        // What is gone comes back.
        let extent = image.map_slow(FAR, CLUSTER).await.unwrap();
        let ExtentKind::Data { at, .. } = extent.kind else {
            panic!("{extent:?}");
        };
        assert_eq!(at.offset, places[1]);
    });
}

#[test]
fn refcounts_that_nobody_looked_at_leave_memory() {
    run(async {
        let (image, _) = image_with(&[0]).await;
        image.write_out().await.unwrap();
        let mut meta = image.meta.lock().await;
        assert_eq!(meta.refcounts.drop_unused(), 0);
        assert_eq!(meta.refcounts.drop_unused(), 1);
    });
}

#[test]
fn what_the_file_lacks_stays_in_memory() {
    run(async {
        let (image, places) = image_with(&[0]).await;
        image.clean().await;
        image.clean().await;
        let extent = image.map_slow(0, CLUSTER).await.unwrap();
        assert!(matches!(extent.kind, ExtentKind::Data { .. }));
        let cluster = places[0] / CLUSTER;
        let mut meta = image.meta.lock().await;
        let count = meta.refcounts.get(&image.file, cluster).await;
        assert_eq!(count.unwrap(), 1);
    });
}

#[test]
fn the_interval_is_in_seconds_and_zero_is_never() {
    run(async {
        let (image, _) = image_with(&[]).await;
        let header = image.header().await;
        let interval = |text: Option<&str>| {
            let mut options = Dict::new();
            if let Some(text) = text {
                options.insert("cache-clean-interval", text);
            }
            let taken = Options::take(&mut options, &header, false);
            taken.map(|options| options.clean_interval)
        };
        assert_eq!(interval(Some("7")).unwrap(), Some(Duration::from_secs(7)));
        assert_eq!(interval(Some("0")).unwrap(), None);
        assert_eq!(interval(None).unwrap(), Some(Duration::from_secs(600)));
        assert!(interval(Some("1k")).is_err());
        assert!(interval(Some("-1")).is_err());
    });
}

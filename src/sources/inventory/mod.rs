//! `host.*`: what the host is, only for the model.
//!
//! Reads many files once per request for the model, beside the loop, and nothing at all for metrics
//! messages. A fact that cannot be read is left out and named, and does not affect the others.

pub mod cpus;
pub mod files;
pub mod host;
pub mod virtualization;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Context, Grid, Sink, Source, background::BackgroundJob, error::CollectError, file::Root,
    odd::LeftOut, options::Options,
};
use crate::base::monitor::Lock;
use crate::metrics::Definition;
use crate::metrics::table::{
    HOST_ARCHITECTURE, HOST_CPU_CORES, HOST_CPU_MODEL, HOST_CPU_SOCKETS, HOST_CPUS, HOST_DISK,
    HOST_DISK_SIZE, HOST_INTERFACE, HOST_KERNEL, HOST_MACHINE_ID, HOST_OS, HOST_OS_ID,
    HOST_OS_VERSION, HOST_PRODUCT, HOST_TIMEZONE, HOST_VENDOR, HOST_VIRTUALIZATION,
};
use host::Host;

const UNFINISHED: &str = "reading what the host is takes too long: a device or a file system does \
                          not answer";

/// Finds out what the host is.
pub struct InventorySource {
    root: Root,
    options: Arc<Options>,
    /// What the last reading found, and what it could not read.
    host: Arc<Lock<(Host, LeftOut)>>,
    job: BackgroundJob,
    /// Until when the first reading, which was made unasked, is recent enough.
    first: Option<Instant>,
}

/// How old the first reading may be when the first model is wanted. The agent says hello in
/// the moment that it starts, and answers what comes back at once.
const FIRST: Duration = Duration::from_secs(10);

impl InventorySource {
    /// One that looks below the context's root.
    #[must_use]
    pub fn open(context: &Context) -> Self {
        let mut source = Self {
            root: context.root.clone(),
            options: Arc::clone(&context.options),
            host: Arc::default(),
            job: BackgroundJob::new(context.prober.clone(), UNFINISHED),
            first: None,
        };
        let now = Instant::now();
        source.begin(now);
        source.first = Some(now + FIRST);
        source
    }

    fn begin(&mut self, now: Instant) {
        let (root, options) = (self.root.clone(), Arc::clone(&self.options));
        let host = Arc::clone(&self.host);
        let job = move || {
            // The lock is not held while something may hang.
            let mut left_out = LeftOut::default();
            let found = (Host::read(&root, &options, &mut left_out), left_out);
            *host.lock() = found;
        };
        self.job.begin(job, now);
    }
}

impl Source for InventorySource {
    fn prepare(&mut self, grid: Grid, now: Instant) {
        if grid == Grid::Metrics || self.job.is_underway() {
            return;
        }
        if self.first.take().is_some_and(|until| now < until) {
            return;
        }
        self.begin(now);
    }

    fn ready(&self) -> bool {
        self.job.ready()
    }

    fn collect(&mut self, _scratch: &mut Vec<u8>, sink: &mut Sink<'_>) -> Result<(), CollectError> {
        if sink.grid() == Grid::Metrics {
            return Ok(());
        }
        if self.job.is_done()? {
            let mut found = self.host.lock();
            let (host, left_out) = &mut *found;
            report(host, sink);
            sink.left_out_all(left_out);
        }
        Ok(())
    }
}

fn report(host: &Host, sink: &mut Sink<'_>) {
    let text = |sink: &mut Sink<'_>, definition: &'static Definition, value: Option<&str>| {
        if let Some(value) = value {
            sink.text(definition, value);
        }
    };
    text(sink, &HOST_KERNEL, host.kernel.as_deref());
    text(sink, &HOST_OS, host.os.as_deref());
    text(sink, &HOST_OS_ID, host.os_id.as_deref());
    text(sink, &HOST_OS_VERSION, host.os_version.as_deref());
    text(sink, &HOST_MACHINE_ID, host.machine_id.as_deref());
    text(sink, &HOST_ARCHITECTURE, host.architecture.as_deref());
    text(sink, &HOST_CPU_MODEL, host.cpu_model.as_deref());
    sink.unsigned_all([
        (&HOST_CPUS, host.counts.cpus),
        (&HOST_CPU_CORES, host.counts.cores),
        (&HOST_CPU_SOCKETS, host.counts.sockets),
    ]);
    text(sink, &HOST_VIRTUALIZATION, host.virtualization);
    text(sink, &HOST_VENDOR, host.vendor.as_deref());
    text(sink, &HOST_PRODUCT, host.product.as_deref());
    text(sink, &HOST_TIMEZONE, host.timezone.as_deref());
    for (name, address) in &host.interfaces {
        sink.text_of(&HOST_INTERFACE, name, address);
    }
    for disk in &host.disks {
        if let Some(model) = &disk.model {
            sink.text_of(&HOST_DISK, &disk.name, model);
        }
        if let Some(bytes) = disk.bytes {
            sink.unsigned_of(&HOST_DISK_SIZE, &disk.name, bytes);
        }
    }
    if host.cut > 0 {
        sink.cut(host.cut);
    }
}

#[cfg(test)]
mod tests;

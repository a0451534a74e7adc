//! The one table of metrics: name, unit, kind, grids, instance, source, description.
//!
//! What `ListMetrics` answers, what the documentation lists and what the sources may
//! emit all come from here. Deployed collectors and viewers rely on the names, units and
//! kinds: rows are added, never changed. A deployed viewer reads `mem.avail`,
//! `mem.free`, `mem.buffers`, `mem.cached` and `cpu.percent` out of a model and fails where one
//! is not there.
//!
//! Units are as the kernel counts, so that a count is sent as it was read: `s`, `ms`,
//! `us`; `B`, `kB` (1024 bytes, as in `proc_meminfo(5)`); `%`, 0 to 100; `Mbit/s`;
//! `celsius`, `rpm`, `V`, `A`, `W`; none for a plain number, and for 0 and 1.

use crate::metrics::{Definition, Kind};

/// A row names its constant too, so that no metric can be emitted that is not in the table.
macro_rules! metrics {
    ($($source:ident { $(
        $constant:ident = $name:literal $([$instance:literal])?, $unit:literal, $kind:ident,
        [$($grid:ident)+], $description:literal;
    )* })*) => {
        $($(
            #[doc = $description]
            pub static $constant: Definition = Definition {
                name: $name,
                instance: metrics!(@instance $($instance)?),
                unit: $unit,
                kind: Kind::$kind,
                description: $description,
                in_metrics: metrics!(@has metrics $($grid)+),
                in_model: metrics!(@has model $($grid)+),
                source: $source,
            };
        )*)*

        /// Every metric known, in the order in which it is emitted.
        pub static METRICS: &[&Definition] = &[$($(&$constant),*),*];
    };
    (@instance) => { None };
    (@instance $instance:literal) => { Some($instance) };
    (@has metrics metrics $($rest:ident)*) => { true };
    (@has model model $($rest:ident)*) => { true };
    (@has $wanted:ident $other:ident $($rest:ident)*) => { metrics!(@has $wanted $($rest)*) };
    (@has $wanted:ident) => { false };
}

macro_rules! names {
    ($($constant:ident = $name:literal, $description:literal;)*) => {
        $(
            #[doc = concat!("The name of the source of ", $description, ".")]
            pub const $constant: &str = $name;
        )*
    };
}

names! {
    UPTIME = "uptime", "the time since boot";
    MEMINFO = "meminfo", "memory and swap";
    VMSTAT = "vmstat", "page faults, swapping and the OOM killer";
    CPU = "cpu", "CPU time";
    LOAD = "load", "the load averages";
    PRESSURE = "pressure", "the pressure stall information";
    DISK = "disk", "block devices";
    FILESYSTEM = "filesystem", "mounted file systems";
    NETWORK = "network", "network interfaces";
    SOCKETS = "sockets", "sockets and protocols";
    CONNTRACK = "conntrack", "connection tracking";
    FILES = "files", "open file handles";
    SYSTEMD = "systemd", "the service manager";
    UNITS = "units", "services, scopes and slices";
    TIME = "time", "the clock's synchronisation";
    SENSORS = "sensors", "hardware sensors";
    PROCESSES = "processes", "processes";
    LOGINS = "logins", "sessions and users";
    INVENTORY = "inventory", "what the host is";
    AGENT = "agent", "the agent itself";
}

metrics! {
UPTIME {
    SYS_UPTIME = "sys.uptime", "s", Gauge, [metrics model],
        "Time since boot, including time spent suspended";
    SYS_BOOT_ID = "sys.boot.id", "", Info, [model],
        "Random id of this boot, as the journal has it";
}
MEMINFO {
    MEM_TOTAL = "mem.total", "kB", Gauge, [model],
        "Usable memory";
    MEM_FREE = "mem.free", "kB", Gauge, [metrics model],
        "Memory that nothing uses";
    MEM_AVAIL = "mem.avail", "kB", Gauge, [metrics model],
        "Memory that could be had without swapping, as the kernel estimates it";
    MEM_BUFFERS = "mem.buffers", "kB", Gauge, [metrics model],
        "Memory in buffers of block devices";
    MEM_CACHED = "mem.cached", "kB", Gauge, [metrics model],
        "Memory in the page cache, tmpfs included";
    MEM_SWAP_TOTAL = "mem.swap.total", "kB", Gauge, [model],
        "Swap space; 0 where there is none";
    MEM_SWAP_FREE = "mem.swap.free", "kB", Gauge, [metrics],
        "Swap space that nothing uses";
    MEM_DIRTY = "mem.dirty", "kB", Gauge, [metrics],
        "Memory that waits to be written to disk";
    MEM_WRITEBACK = "mem.writeback", "kB", Gauge, [metrics],
        "Memory that is being written to disk";
}
VMSTAT {
    MEM_FAULTS = "mem.faults.total", "", Counter, [metrics],
        "Page faults";
    MEM_FAULTS_MAJOR = "mem.faults.major.total", "", Counter, [metrics],
        "Page faults that waited for a disk";
    MEM_SWAP_IN = "mem.swap.in.total", "kB", Counter, [metrics],
        "Memory read back from swap";
    MEM_SWAP_OUT = "mem.swap.out.total", "kB", Counter, [metrics],
        "Memory written to swap";
    MEM_OOM_KILLS = "mem.oom.kills.total", "", Counter, [metrics],
        "Processes that the OOM killer killed";
}
CPU {
    CPU_PERCENT = "cpu.percent", "%", Gauge, [metrics model],
        "Share of time that the CPUs were busy since the previous reading, over all of them";
    CPU_USER = "cpu.user.total", "ms", Counter, [metrics],
        "Time of all CPUs in user mode, guests included";
    CPU_NICE = "cpu.nice.total", "ms", Counter, [metrics],
        "Time of all CPUs in user mode at low priority, guests included";
    CPU_SYSTEM = "cpu.system.total", "ms", Counter, [metrics],
        "Time of all CPUs in the kernel";
    CPU_IDLE = "cpu.idle.total", "ms", Counter, [metrics],
        "Time of all CPUs with nothing to do; the kernel may take some back";
    CPU_IOWAIT = "cpu.iowait.total", "ms", Counter, [metrics],
        "Time of all CPUs idle while a task of theirs waited for I/O; not reliable";
    CPU_IRQ = "cpu.irq.total", "ms", Counter, [metrics],
        "Time of all CPUs in interrupts";
    CPU_SOFTIRQ = "cpu.softirq.total", "ms", Counter, [metrics],
        "Time of all CPUs in soft interrupts";
    CPU_STEAL = "cpu.steal.total", "ms", Counter, [metrics],
        "Time that the hypervisor gave to others";
    CPU_GUEST = "cpu.guest.total", "ms", Counter, [metrics],
        "Time of all CPUs in guests; part of the user time";
    CPU_GUEST_NICE = "cpu.guest.nice.total", "ms", Counter, [metrics],
        "Time of all CPUs in guests at low priority; part of the nice time";
    CPU_CORE_USER = "cpu.core.user.total" ["cpu"], "ms", Counter, [metrics],
        "Time of one CPU in user mode, guests included; optional";
    CPU_CORE_NICE = "cpu.core.nice.total" ["cpu"], "ms", Counter, [metrics],
        "Time of one CPU in user mode at low priority; optional";
    CPU_CORE_SYSTEM = "cpu.core.system.total" ["cpu"], "ms", Counter, [metrics],
        "Time of one CPU in the kernel; optional";
    CPU_CORE_IDLE = "cpu.core.idle.total" ["cpu"], "ms", Counter, [metrics],
        "Time of one CPU with nothing to do; optional";
    CPU_CORE_IOWAIT = "cpu.core.iowait.total" ["cpu"], "ms", Counter, [metrics],
        "Time of one CPU idle while a task of its waited for I/O; optional";
    CPU_CORE_IRQ = "cpu.core.irq.total" ["cpu"], "ms", Counter, [metrics],
        "Time of one CPU in interrupts; optional";
    CPU_CORE_SOFTIRQ = "cpu.core.softirq.total" ["cpu"], "ms", Counter, [metrics],
        "Time of one CPU in soft interrupts; optional";
    CPU_CORE_STEAL = "cpu.core.steal.total" ["cpu"], "ms", Counter, [metrics],
        "Time of one CPU that the hypervisor gave to others; optional";
    CPU_SWITCHES = "cpu.switches.total", "", Counter, [metrics],
        "Context switches";
    CPU_INTERRUPTS = "cpu.interrupts.total", "", Counter, [metrics],
        "Interrupts";
    PROC_FORKS = "proc.forks.total", "", Counter, [metrics],
        "Processes and threads begun";
    PROC_RUNNING = "proc.running", "", Gauge, [metrics],
        "Threads that run or could run";
    PROC_BLOCKED = "proc.blocked", "", Gauge, [metrics],
        "Threads that wait for a disk";
}
LOAD {
    LOAD_1 = "load.1m", "", Gauge, [metrics],
        "Threads that run, could run or wait for a disk, on average over 1 min";
    LOAD_5 = "load.5m", "", Gauge, [metrics],
        "Threads that run, could run or wait for a disk, on average over 5 min";
    LOAD_15 = "load.15m", "", Gauge, [metrics],
        "Threads that run, could run or wait for a disk, on average over 15 min";
    PROC_THREADS = "proc.threads", "", Gauge, [metrics],
        "Threads that exist";
}
PRESSURE {
    PRESSURE_SOME_AVG10 = "pressure.some.avg10" ["resource"], "%", Gauge, [metrics],
        "Share of the last 10 s in which some task waited for the resource";
    PRESSURE_SOME_AVG60 = "pressure.some.avg60" ["resource"], "%", Gauge, [metrics],
        "Share of the last 60 s in which some task waited for the resource";
    PRESSURE_SOME_AVG300 = "pressure.some.avg300" ["resource"], "%", Gauge, [metrics],
        "Share of the last 300 s in which some task waited for the resource";
    PRESSURE_SOME = "pressure.some.total" ["resource"], "us", Counter, [metrics],
        "Time in which some task waited for the resource";
    PRESSURE_FULL_AVG10 = "pressure.full.avg10" ["resource"], "%", Gauge, [metrics],
        "Share of the last 10 s in which every task that was not idle waited for the resource";
    PRESSURE_FULL_AVG60 = "pressure.full.avg60" ["resource"], "%", Gauge, [metrics],
        "Share of the last 60 s in which every task that was not idle waited for the resource";
    PRESSURE_FULL_AVG300 = "pressure.full.avg300" ["resource"], "%", Gauge, [metrics],
        "Share of the last 300 s in which every task that was not idle waited for the resource";
    PRESSURE_FULL = "pressure.full.total" ["resource"], "us", Counter, [metrics],
        "Time in which every task that was not idle waited for the resource";
}
DISK {
    DISK_READS = "disk.reads.total" ["device"], "", Counter, [metrics],
        "Reads completed";
    DISK_READS_MERGED = "disk.reads.merged.total" ["device"], "", Counter, [metrics],
        "Reads that became part of another";
    DISK_READ_BYTES = "disk.read.bytes.total" ["device"], "B", Counter, [metrics],
        "Bytes read";
    DISK_READ_TIME = "disk.read.time.total" ["device"], "ms", Counter, [metrics],
        "Time of all reads together";
    DISK_WRITES = "disk.writes.total" ["device"], "", Counter, [metrics],
        "Writes completed";
    DISK_WRITES_MERGED = "disk.writes.merged.total" ["device"], "", Counter, [metrics],
        "Writes that became part of another";
    DISK_WRITE_BYTES = "disk.write.bytes.total" ["device"], "B", Counter, [metrics],
        "Bytes written";
    DISK_WRITE_TIME = "disk.write.time.total" ["device"], "ms", Counter, [metrics],
        "Time of all writes together";
    DISK_INFLIGHT = "disk.inflight" ["device"], "", Gauge, [metrics],
        "Requests under way";
    DISK_BUSY = "disk.busy.total" ["device"], "ms", Counter, [metrics],
        "Time with requests under way";
    DISK_QUEUE_TIME = "disk.queue.time.total" ["device"], "ms", Counter, [metrics],
        "Time of all requests together, those under way included";
    DISK_DISCARDS = "disk.discards.total" ["device"], "", Counter, [metrics],
        "Discards completed";
    DISK_DISCARD_BYTES = "disk.discard.bytes.total" ["device"], "B", Counter, [metrics],
        "Bytes discarded";
    DISK_DISCARD_TIME = "disk.discard.time.total" ["device"], "ms", Counter, [metrics],
        "Time of all discards together";
    DISK_FLUSHES = "disk.flushes.total" ["device"], "", Counter, [metrics],
        "Flushes completed";
    DISK_FLUSH_TIME = "disk.flush.time.total" ["device"], "ms", Counter, [metrics],
        "Time of all flushes together";
}
FILESYSTEM {
    FS_SIZE = "fs.size" ["mount"], "B", Gauge, [metrics],
        "Size of the file system";
    FS_FREE = "fs.free" ["mount"], "B", Gauge, [metrics],
        "Space that is free";
    FS_AVAIL = "fs.avail" ["mount"], "B", Gauge, [metrics],
        "Space that is free for those who are not root";
    FS_INODES = "fs.inodes" ["mount"], "", Gauge, [metrics],
        "Inodes; none where the file system makes them as they are needed";
    FS_INODES_FREE = "fs.inodes.free" ["mount"], "", Gauge, [metrics],
        "Inodes that are free";
    FS_READONLY = "fs.readonly" ["mount"], "", Gauge, [metrics],
        "1 where the file system is read-only, else 0";
    FS_STUCK = "fs.stuck" ["mount"], "", Gauge, [metrics],
        "1 where the file system does not answer, else 0";
}
NETWORK {
    NET_RX_BYTES = "net.rx.bytes.total" ["interface"], "B", Counter, [metrics],
        "Bytes received";
    NET_RX_PACKETS = "net.rx.packets.total" ["interface"], "", Counter, [metrics],
        "Packets received";
    NET_RX_ERRORS = "net.rx.errors.total" ["interface"], "", Counter, [metrics],
        "Packets received with an error";
    NET_RX_DROPS = "net.rx.drops.total" ["interface"], "", Counter, [metrics],
        "Packets received and dropped";
    NET_TX_BYTES = "net.tx.bytes.total" ["interface"], "B", Counter, [metrics],
        "Bytes sent";
    NET_TX_PACKETS = "net.tx.packets.total" ["interface"], "", Counter, [metrics],
        "Packets sent";
    NET_TX_ERRORS = "net.tx.errors.total" ["interface"], "", Counter, [metrics],
        "Packets that could not be sent";
    NET_TX_DROPS = "net.tx.drops.total" ["interface"], "", Counter, [metrics],
        "Packets dropped before they were sent";
    NET_UP = "net.up" ["interface"], "", Gauge, [metrics],
        "1 where the link is up, or its driver can't tell, else 0";
    NET_SPEED = "net.speed" ["interface"], "Mbit/s", Gauge, [metrics],
        "Speed of a link that is up";
}
SOCKETS {
    SOCKETS_USED = "sockets.used", "", Gauge, [metrics],
        "Sockets of every kind";
    TCP_INUSE = "tcp.inuse", "", Gauge, [metrics],
        "TCP sockets, IPv4 and IPv6, listening ones included";
    TCP_ESTABLISHED = "tcp.established", "", Gauge, [metrics],
        "TCP connections that are established or half closed";
    TCP_ORPHANS = "tcp.orphans", "", Gauge, [metrics],
        "TCP connections that no process holds";
    TCP_TIMEWAIT = "tcp.timewait", "", Gauge, [metrics],
        "TCP connections in TIME-WAIT";
    TCP_MEMORY = "tcp.memory", "kB", Gauge, [metrics],
        "Memory in buffers of TCP";
    TCP_OPENS_ACTIVE = "tcp.opens.active.total", "", Counter, [metrics],
        "TCP connections that this host began";
    TCP_OPENS_PASSIVE = "tcp.opens.passive.total", "", Counter, [metrics],
        "TCP connections that others began";
    TCP_FAILS = "tcp.fails.total", "", Counter, [metrics],
        "TCP connections that failed before they were established";
    TCP_RESETS = "tcp.resets.total", "", Counter, [metrics],
        "TCP connections that were reset once established";
    TCP_SEGMENTS_IN = "tcp.segments.in.total", "", Counter, [metrics],
        "TCP segments received";
    TCP_SEGMENTS_OUT = "tcp.segments.out.total", "", Counter, [metrics],
        "TCP segments sent, those sent again left out";
    TCP_RETRANSMITS = "tcp.retransmits.total", "", Counter, [metrics],
        "TCP segments sent again";
    TCP_ERRORS_IN = "tcp.errors.in.total", "", Counter, [metrics],
        "TCP segments received with an error";
    TCP_LISTEN_OVERFLOWS = "tcp.listen.overflows.total", "", Counter, [metrics],
        "TCP connections refused as the queue of a listening socket was full";
    TCP_LISTEN_DROPS = "tcp.listen.drops.total", "", Counter, [metrics],
        "TCP connections dropped by a listening socket, overflows included";
    UDP_INUSE = "udp.inuse", "", Gauge, [metrics],
        "UDP sockets, IPv4 and IPv6";
    UDP_IN = "udp.in.total", "", Counter, [metrics],
        "UDP datagrams received over IPv4";
    UDP_OUT = "udp.out.total", "", Counter, [metrics],
        "UDP datagrams sent over IPv4";
    UDP_ERRORS_IN = "udp.errors.in.total", "", Counter, [metrics],
        "UDP datagrams over IPv4 that could not be delivered";
    UDP_NOPORTS = "udp.noports.total", "", Counter, [metrics],
        "UDP datagrams over IPv4 to a port without a listener";
    UDP_OVERFLOWS = "udp.overflows.total", "", Counter, [metrics],
        "UDP datagrams over IPv4 dropped as a socket's buffer was full";
}
CONNTRACK {
    CONNTRACK_ENTRIES = "conntrack.entries", "", Gauge, [metrics],
        "Connections that the firewall follows";
    CONNTRACK_LIMIT = "conntrack.limit", "", Gauge, [metrics],
        "Connections that it can follow";
}
FILES {
    FILES_OPEN = "files.open", "", Gauge, [metrics],
        "File handles that are open on the whole host";
    FILES_LIMIT = "files.limit", "", Gauge, [metrics],
        "Most that may be open: at the limit no program can open a file";
}
SYSTEMD {
    SYSTEMD_STATE = "systemd.state" ["state"], "", Gauge, [metrics],
        "1 for the state that the manager is in, 0 for each other";
    SYSTEMD_UNITS = "systemd.units" ["state"], "", Gauge, [metrics],
        "Loaded units in a state";
    SYSTEMD_FAILED = "systemd.failed" ["unit"], "", Gauge, [metrics],
        "1 for each unit that has failed";
    SYSTEMD_JOBS = "systemd.jobs", "", Gauge, [metrics],
        "Jobs that wait or run";
    UNIT_RESTARTS = "unit.restarts.total" ["unit"], "", Counter, [metrics],
        "Times that the manager restarted the service by itself";
    SYSTEMD_BOOT_FIRMWARE = "systemd.boot.firmware", "us", Gauge, [model],
        "Time that the firmware took at boot";
    SYSTEMD_BOOT_LOADER = "systemd.boot.loader", "us", Gauge, [model],
        "Time that the boot loader took";
    SYSTEMD_BOOT_KERNEL = "systemd.boot.kernel", "us", Gauge, [model],
        "Time from the kernel's start to the initrd's, or else to the manager's";
    SYSTEMD_BOOT_INITRD = "systemd.boot.initrd", "us", Gauge, [model],
        "Time that the initrd took at boot";
    SYSTEMD_BOOT_USERSPACE = "systemd.boot.userspace", "us", Gauge, [model],
        "Time from the manager's start to the end of the boot";
    SYSTEMD_VERSION = "systemd.version", "", Info, [model],
        "Version of the manager";
}
UNITS {
    UNIT_CPU = "unit.cpu.total" ["unit"], "us", Counter, [metrics],
        "CPU time of the unit";
    UNIT_CPU_USER = "unit.cpu.user.total" ["unit"], "us", Counter, [metrics],
        "CPU time of the unit in user mode";
    UNIT_CPU_SYSTEM = "unit.cpu.system.total" ["unit"], "us", Counter, [metrics],
        "CPU time of the unit in the kernel";
    UNIT_CPU_THROTTLED = "unit.cpu.throttled.total" ["unit"], "us", Counter, [metrics],
        "Time that the unit was held back by its CPU quota";
    UNIT_MEMORY = "unit.memory" ["unit"], "B", Gauge, [metrics],
        "Memory of the unit, its page cache included";
    UNIT_MEMORY_PEAK = "unit.memory.peak" ["unit"], "B", Gauge, [metrics],
        "Most memory that the unit has had";
    UNIT_MEMORY_SWAP = "unit.memory.swap" ["unit"], "B", Gauge, [metrics],
        "Swap space of the unit";
    UNIT_MEMORY_ANON = "unit.memory.anon" ["unit"], "B", Gauge, [metrics],
        "Memory of the unit that belongs to no file";
    UNIT_MEMORY_FILE = "unit.memory.file" ["unit"], "B", Gauge, [metrics],
        "Page cache of the unit, tmpfs included";
    UNIT_IO_READ_BYTES = "unit.io.read.bytes.total" ["unit"], "B", Counter, [metrics],
        "Bytes that the unit read from disks";
    UNIT_IO_WRITE_BYTES = "unit.io.write.bytes.total" ["unit"], "B", Counter, [metrics],
        "Bytes that the unit wrote to disks";
    UNIT_IO_READS = "unit.io.reads.total" ["unit"], "", Counter, [metrics],
        "Reads of the unit from disks";
    UNIT_IO_WRITES = "unit.io.writes.total" ["unit"], "", Counter, [metrics],
        "Writes of the unit to disks";
    UNIT_TASKS = "unit.tasks" ["unit"], "", Gauge, [metrics],
        "Threads of the unit";
    UNIT_PRESSURE_CPU_SOME = "unit.pressure.cpu.some.total" ["unit"], "us", Counter, [metrics],
        "Time in which some task of the unit waited for a CPU";
    UNIT_PRESSURE_MEMORY_SOME = "unit.pressure.memory.some.total" ["unit"], "us", Counter, [metrics],
        "Time in which some task of the unit waited for memory";
    UNIT_PRESSURE_MEMORY_FULL = "unit.pressure.memory.full.total" ["unit"], "us", Counter, [metrics],
        "Time in which all of the unit waited for memory";
    UNIT_PRESSURE_IO_SOME = "unit.pressure.io.some.total" ["unit"], "us", Counter, [metrics],
        "Time in which some task of the unit waited for I/O";
    UNIT_PRESSURE_IO_FULL = "unit.pressure.io.full.total" ["unit"], "us", Counter, [metrics],
        "Time in which all of the unit waited for I/O";
    UNIT_OOM_KILLS = "unit.oom.kills.total" ["unit"], "", Counter, [metrics],
        "Processes of the unit that the OOM killer killed";
}
TIME {
    TIME_SYNCHRONISED = "time.synchronised", "", Gauge, [metrics],
        "1 where the clock is synchronised to a reference, else 0";
    TIME_OFFSET = "time.offset", "s", Gauge, [metrics],
        "How far the clock is behind its reference; negative where it is ahead";
    TIME_ERROR_ESTIMATED = "time.error.estimated", "s", Gauge, [metrics],
        "How far the clock is estimated to be wrong";
    TIME_ERROR_MAX = "time.error.max", "s", Gauge, [metrics],
        "How far the clock can be wrong at most";
}
SENSORS {
    SENSOR_TEMPERATURE = "sensor.temperature" ["sensor"], "celsius", Gauge, [metrics],
        "A temperature";
    SENSOR_FAN = "sensor.fan" ["sensor"], "rpm", Gauge, [metrics],
        "Speed of a fan";
    SENSOR_VOLTAGE = "sensor.voltage" ["sensor"], "V", Gauge, [metrics],
        "A voltage";
    SENSOR_CURRENT = "sensor.current" ["sensor"], "A", Gauge, [metrics],
        "A current";
    SENSOR_POWER = "sensor.power" ["sensor"], "W", Gauge, [metrics],
        "A power";
}
PROCESSES {
    PROC_COUNT = "proc.count", "", Gauge, [metrics],
        "Processes that exist";
    PROC_STATE = "proc.state" ["state"], "", Gauge, [metrics],
        "Processes in a state";
    PROC_TOP_CPU = "proc.top.cpu" ["process"], "%", Gauge, [metrics],
        "Share of one CPU that a process took since the previous reading, the largest; optional";
    PROC_TOP_MEMORY = "proc.top.memory" ["process"], "kB", Gauge, [metrics],
        "Resident memory of a process, the largest; optional";
}
LOGINS {
    LOGIN_SESSIONS = "login.sessions", "", Gauge, [metrics],
        "Sessions that logind knows";
    LOGIN_USERS = "login.users", "", Gauge, [metrics],
        "Users that are logged in";
}
INVENTORY {
    HOST_KERNEL = "host.kernel", "", Info, [model],
        "Release of the running kernel";
    HOST_OS = "host.os", "", Info, [model],
        "Name of the operating system, for people";
    HOST_OS_ID = "host.os.id", "", Info, [model],
        "Name of the operating system, for programs";
    HOST_OS_VERSION = "host.os.version", "", Info, [model],
        "Version of the operating system, for programs";
    HOST_MACHINE_ID = "host.machine.id", "", Info, [model],
        "Id of this installation: the machine id, hashed for this program";
    HOST_ARCHITECTURE = "host.architecture", "", Info, [model],
        "Architecture, as the kernel names it";
    HOST_CPU_MODEL = "host.cpu.model", "", Info, [model],
        "Model of the CPUs";
    HOST_CPUS = "host.cpus", "", Gauge, [model],
        "CPUs that are online";
    HOST_CPU_CORES = "host.cpu.cores", "", Gauge, [model],
        "Cores, of which each may be several CPUs";
    HOST_CPU_SOCKETS = "host.cpu.sockets", "", Gauge, [model],
        "Sockets with CPUs";
    HOST_VIRTUALIZATION = "host.virtualization", "", Info, [model],
        "Kind of virtual machine or container, as systemd-detect-virt names it; none on bare metal";
    HOST_VENDOR = "host.vendor", "", Info, [model],
        "Vendor of the hardware";
    HOST_PRODUCT = "host.product", "", Info, [model],
        "Product name of the hardware";
    HOST_TIMEZONE = "host.timezone", "", Info, [model],
        "Time zone";
    HOST_INTERFACE = "host.interface" ["interface"], "", Info, [model],
        "Hardware address of a network interface";
    HOST_DISK = "host.disk" ["device"], "", Info, [model],
        "Model of a disk";
    HOST_DISK_SIZE = "host.disk.size" ["device"], "B", Gauge, [model],
        "Size of a disk";
}
AGENT {
    AGENT_VERSION = "agent.version", "", Info, [model],
        "Version of the agent";
    AGENT_WIRE = "agent.wire", "", Gauge, [model],
        "Latest protocol that the agent speaks: with 2 it tells every sample, and keeps it for a receipt";
    AGENT_CPU = "agent.cpu.total", "us", Counter, [metrics],
        "CPU time of the agent";
    AGENT_MEMORY = "agent.memory", "kB", Gauge, [metrics],
        "Resident memory of the agent, pages of its libraries included";
    AGENT_SAMPLES = "agent.samples.total", "", Counter, [metrics],
        "Samples for metrics messages that the agent took, the one with this value included";
    AGENT_MESSAGES_SENT = "agent.messages.sent.total", "", Counter, [metrics],
        "Messages that the agent sent";
    AGENT_MESSAGES_RECEIVED = "agent.messages.received.total", "", Counter, [metrics],
        "Messages that the agent received";
    AGENT_BYTES_SENT = "agent.bytes.sent.total", "B", Counter, [metrics],
        "Bytes of messages that the agent sent";
    AGENT_MESSAGES_DROPPED = "agent.messages.dropped.total", "", Counter, [metrics],
        "Messages that the agent could not send";
    AGENT_RECONNECTS = "agent.reconnects.total", "", Counter, [metrics],
        "Connections that the agent opened again, unasked";
    AGENT_LOG_LOST = "agent.log.lost.total", "", Counter, [metrics],
        "Lines that the agent could not log: their queue was full";
    AGENT_HISTORY_MEMORY = "agent.history.memory", "B", Gauge, [metrics],
        "Samples that are kept for collectors, in memory";
    AGENT_HISTORY_DISK = "agent.history.disk", "B", Gauge, [metrics],
        "Samples that are kept for collectors, on disk";
    AGENT_HISTORY_BEHIND = "agent.history.behind" ["collector"], "", Gauge, [metrics],
        "Samples that are kept and that the collector has not acknowledged";
    AGENT_HISTORY_BEHIND_TIME = "agent.history.behind.time" ["collector"], "us", Gauge, [metrics],
        "How long ago the first sample was taken that the collector has not acknowledged";
    AGENT_HISTORY_LOST = "agent.history.lost.total" ["collector"], "", Counter, [metrics],
        "Samples that were lost before the collector had them";
    AGENT_SOURCE_TIME = "agent.source.time.total" ["source"], "us", Counter, [metrics],
        "Time that the readings of a source took";
    AGENT_SOURCE_ERRORS = "agent.source.errors.total" ["source"], "", Counter, [metrics],
        "Readings of a source that failed, and values that were left out of others";
    AGENT_SOURCE_FAILED = "agent.source.failed.total" ["source"], "", Counter, [metrics],
        "Readings of a source that failed as a whole";
    AGENT_SOURCE_CUT = "agent.source.cut.total" ["source"], "", Counter, [metrics],
        "Values of a source that were left out, as there were too many";
}
}

/// The definition of a metric; an instance in brackets is not part of its name here.
#[must_use]
pub fn metric(name: &str) -> Option<&'static Definition> {
    let plain = name.split_once('[').map_or(name, |(plain, _)| plain);
    METRICS
        .iter()
        .copied()
        .find(|definition| definition.name == plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The contract with deployed collectors and viewers: name, unit, grids.
    #[test]
    fn the_table_holds_the_names_that_deployed_viewers_rely_on() {
        for row in [
            ("sys.uptime", "s", true, true),
            ("mem.total", "kB", false, true),
            ("mem.free", "kB", true, true),
            ("mem.avail", "kB", true, true),
            ("mem.buffers", "kB", true, true),
            ("mem.cached", "kB", true, true),
            ("mem.swap.total", "kB", false, true),
            ("mem.swap.free", "kB", true, false),
            ("mem.dirty", "kB", true, false),
            ("mem.writeback", "kB", true, false),
            ("cpu.percent", "%", true, true),
        ] {
            let m = metric(row.0).unwrap();
            assert_eq!(row, (m.name, m.unit, m.in_metrics, m.in_model));
            assert_eq!((m.instance, m.kind), (None, Kind::Gauge), "{}", m.name);
        }
    }

    #[test]
    fn text_is_only_in_the_model() {
        for metric in METRICS.iter().filter(|m| m.kind == Kind::Info) {
            assert!(metric.in_model && !metric.in_metrics, "{}", metric.name);
        }
    }

    #[test]
    fn counters_and_only_they_end_in_total() {
        for metric in METRICS {
            // The two sizes were named before the rule and keep their names.
            let old = ["mem.total", "mem.swap.total"].contains(&metric.name);
            assert_eq!(
                metric.name.strip_suffix(".total").is_some() && !old,
                metric.kind == Kind::Counter,
                "{}",
                metric.name
            );
        }
    }

    #[test]
    fn a_metric_is_found_with_and_without_an_instance() {
        assert_eq!(metric("mem.free").unwrap().unit, "kB");
        assert_eq!(metric("cpu.percent[0]").unwrap().name, "cpu.percent");
        assert_eq!(metric("mem"), None);
        assert_eq!(Kind::Gauge.as_str(), "gauge");
    }
}

//! One epoll(7) for all connections of a socket, as one descriptor of the runtime.
//!
//! A task or a registration with the runtime for each of 10,000 connections would cost more than
//! the connections do. It is level triggered: what is left unread is told again.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::base::waiting::register;

/// Descriptors that are told of at once.
const BATCH: usize = 64;

pub(super) struct Poller {
    epoll: AsyncFd<OwnedFd>,
    events: Vec<Event>,
}

/// What may be done with a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ready {
    /// What it was added with.
    pub(super) token: u64,
    /// There is something to read, an end or an error included.
    pub(super) read: bool,
    /// There is room to write.
    pub(super) write: bool,
}

impl Poller {
    /// To be called within a tokio runtime.
    pub(super) fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        Ok(Self {
            epoll: register(epoll, Interest::READABLE)?,
            events: Vec::with_capacity(BATCH),
        })
    }

    /// Tells of `descriptor` with `token` until it is closed.
    pub(super) fn add(&self, descriptor: impl AsFd, token: u64) -> io::Result<()> {
        let data = EventData::new_u64(token);
        Ok(epoll::add(
            self.epoll.get_ref(),
            descriptor,
            data,
            EventFlags::IN,
        )?)
    }

    /// Tells of this and nothing else from now on. Of an end or an error it always tells.
    pub(super) fn watch(
        &self,
        descriptor: impl AsFd,
        token: u64,
        read: bool,
        write: bool,
    ) -> io::Result<()> {
        let mut flags = EventFlags::empty();
        flags.set(EventFlags::IN, read);
        flags.set(EventFlags::OUT, write);
        let data = EventData::new_u64(token);
        Ok(epoll::modify(
            self.epoll.get_ref(),
            descriptor,
            data,
            flags,
        )?)
    }

    /// Asks what is ready now, and returns how much: [`Poller::ready`] tells what. Fair, if there
    /// is more than one answer has room for.
    pub(super) fn poll(&mut self) -> io::Result<usize> {
        const AT_ONCE: Timespec = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        self.events.clear();
        let room = spare_capacity(&mut self.events);
        match epoll::wait(self.epoll.get_ref(), room, Some(&AT_ONCE)) {
            Ok(_) | Err(Errno::INTR) => Ok(self.events.len()),
            Err(error) => Err(error.into()),
        }
    }

    /// One of the last answer's.
    pub(super) fn ready(&self, index: usize) -> Option<Ready> {
        let event = self.events.get(index)?;
        let flags = event.flags;
        Some(Ready {
            token: event.data.u64(),
            read: flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR),
            write: flags.contains(EventFlags::OUT),
        })
    }

    /// Waits until something may be ready. Cancel safe. After it, and until there is nothing
    /// more, [`Poller::poll`] tells what.
    pub(super) async fn wait(&self) -> io::Result<()> {
        // Before it is asked what there is, so that nothing in between is missed.
        self.epoll.readable().await?.clear_ready();
        Ok(())
    }
}

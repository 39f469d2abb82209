//! A connection on which whole messages are sent and received, each within its time.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lmfs_codec::Stop;
use parking_lot::{Mutex, MutexGuard};

use super::error::Error;
use super::message::{MAGIC, Message, PREFIX, VERSION, longest};
use super::timing::Timing;

/// The most bytes that are read at a time, so that memory grows with what came and not with what was announced.
const CHUNK: usize = 64 << 10;
/// The longest body of a message from somebody who is not known yet.
const GREETING: usize = 2048;

/// How long the other side has to take the last message.
const LAST: Duration = Duration::from_secs(3);

/// A connected socket.
#[derive(Debug)]
pub enum Socket {
    /// To another machine.
    Tcp(TcpStream),
    /// On this machine.
    Unix(UnixStream),
}

impl Socket {
    fn prepare(&self) -> io::Result<()> {
        match self {
            Socket::Tcp(socket) => {
                socket.set_nodelay(true)?;
                socket.set_read_timeout(Some(Stop::TICK))?;
                socket.set_write_timeout(Some(Stop::TICK))
            }
            Socket::Unix(socket) => {
                socket.set_read_timeout(Some(Stop::TICK))?;
                socket.set_write_timeout(Some(Stop::TICK))
            }
        }
    }

    fn read(&self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => (&*socket).read(bytes),
            Socket::Unix(socket) => (&*socket).read(bytes),
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => (&*socket).write(bytes),
            Socket::Unix(socket) => (&*socket).write(bytes),
        }
    }

    /// Ends the connection for both sides.
    pub fn shutdown(&self) {
        // It may be closed already.
        let _ = match self {
            Socket::Tcp(socket) => socket.shutdown(Shutdown::Both),
            Socket::Unix(socket) => socket.shutdown(Shutdown::Both),
        };
    }
}

/// A connection. Any thread may send, one receives.
pub struct Channel {
    socket: Arc<Socket>,
    /// When something was sent last.
    sending: Mutex<Instant>,
    /// Whether it is known who the other side is.
    is_trusted: AtomicBool,
    /// Until then it has to be.
    greeted_by: Instant,
    timing: Timing,
}

impl Channel {
    /// Sends and expects what every connection begins with.
    ///
    /// # Errors
    /// The other side is not lmfs, or another version.
    pub fn open(socket: impl Into<Arc<Socket>>, timing: Timing, stop: &Stop) -> Result<Channel, Error> {
        let socket = socket.into();
        socket.prepare()?;
        let channel = Channel {
            socket,
            sending: Mutex::new(Instant::now()),
            is_trusted: AtomicBool::new(false),
            greeted_by: Instant::now() + timing.greeting,
            timing,
        };
        let [low, high] = VERSION.to_le_bytes();
        let mine: Vec<u8> = MAGIC.into_iter().chain([low, high]).collect();
        let deadline = channel.greeted_by;
        channel.write_all(&mut mine.as_slice(), deadline, stop)?;
        let mut magic = [0; MAGIC.len()];
        channel.read_exact(&mut magic, deadline, &mut || (), stop)?;
        if magic != MAGIC {
            return Err(Error::NotLmfs);
        }
        let mut version = [0; 2];
        channel.read_exact(&mut version, deadline, &mut || (), stop)?;
        match u16::from_le_bytes(version) {
            VERSION => Ok(channel),
            found => Err(Error::OtherVersion { found, known: VERSION }),
        }
    }

    /// The other side is known now, may send long messages and take its time.
    pub fn trust(&self) {
        self.is_trusted.store(true, Ordering::Relaxed);
    }

    fn is_trusted(&self) -> bool {
        self.is_trusted.load(Ordering::Relaxed)
    }

    /// When something has to be done that may take so long. Strangers have less time, for all together.
    fn deadline(&self, within: Duration) -> Instant {
        let deadline = Instant::now() + within;
        match self.is_trusted() {
            true => deadline,
            false => deadline.min(self.greeted_by),
        }
    }

    /// Sends a message. One that is not sent as a whole ends the connection, because what follows would be taken for
    /// the rest of it.
    ///
    /// # Errors
    /// The connection is lost, or the other side does not read, or `stop` was set.
    pub fn send(&self, message: &Message, stop: &Stop) -> Result<(), Error> {
        let bytes = message.to_bytes();
        let sending = self.wait_to_send(stop)?;
        // From now on: what others send before takes time for which this message has no blame.
        self.send_bytes(sending, &bytes, self.deadline(self.timing.message), stop)
    }

    /// The last message: the other side has a moment to take it.
    pub fn send_last(&self, message: &Message) {
        // Who does not take it sees the end of the connection.
        let deadline = Instant::now() + self.timing.message.min(LAST);
        if let Some(sending) = self.sending.try_lock_until(deadline) {
            let _ = self.send_bytes(sending, &message.to_bytes(), deadline, &Stop::new());
        }
        self.close();
    }

    /// The turn to send. It comes: each message before has its own time, and one that fails ends the connection.
    fn wait_to_send(&self, stop: &Stop) -> Result<MutexGuard<'_, Instant>, Error> {
        loop {
            if stop.is_set() {
                return Err(Error::Interrupted);
            }
            if let Some(sending) = self.sending.try_lock_for(Stop::TICK) {
                return Ok(sending);
            }
        }
    }

    fn send_bytes(
        &self,
        mut sending: MutexGuard<'_, Instant>,
        bytes: &[u8],
        deadline: Instant,
        stop: &Stop,
    ) -> Result<(), Error> {
        let mut rest = bytes;
        let written = self.write_all(&mut rest, deadline, stop);
        *sending = Instant::now();
        written.inspect_err(|error| {
            // If nothing was sent, the next message, which says that it is over, still can be.
            if !matches!(error, Error::Interrupted) || rest.len() < bytes.len() {
                self.close();
            }
        })
    }

    /// Says that this side is there, if it has not said anything for a while.
    ///
    /// # Errors
    /// As of [`send`](Channel::send).
    pub fn stay_alive(&self, stop: &Stop) -> Result<(), Error> {
        // Who is sending now is seen to be alive.
        let is_due = self
            .sending
            .try_lock()
            .is_some_and(|last| last.elapsed() >= self.timing.alive);
        match is_due {
            true => self.send(&Message::Alive, stop),
            false => Ok(()),
        }
    }

    /// Does `work`, and has the other side hear meanwhile that this one is alive.
    pub fn alive_while<T>(&self, stop: &Stop, work: impl FnOnce() -> T) -> T {
        let done = stop.child();
        thread::scope(|scope| {
            // Whatever happens here, the thread ends.
            let _end = SetAtEnd(&done);
            scope.spawn(|| {
                while !done.is_set() && self.stay_alive(&done).is_ok() {
                    thread::sleep(Stop::TICK);
                }
            });
            work()
        })
    }

    /// The next message. Until it is there, the other side hears that this one is alive.
    ///
    /// # Errors
    /// The connection is lost, nothing came for too long, or what came is no message; `stop` was set.
    pub fn receive(&self, stop: &Stop) -> Result<Message, Error> {
        // If it cannot be sent, there may still be something to read: why the other side has left.
        let mut alive = || drop(self.stay_alive(stop));
        let mut prefix = [0; PREFIX];
        let (first, rest) = prefix.split_at_mut(1);
        self.read_exact(first, self.deadline(self.timing.silence), &mut alive, stop)
            .map_err(|error| match error {
                Error::Slow(_) => Error::Silent(self.timing.silence.as_secs()),
                other => other,
            })?;
        let deadline = self.deadline(self.timing.message);
        self.read_exact(rest, deadline, &mut alive, stop)?;
        let [kind, len @ ..] = prefix;
        let len = u32::from_le_bytes(len) as usize;
        let most = if self.is_trusted() { usize::MAX } else { GREETING };
        if longest(kind).is_none_or(|longest| len > longest.min(most)) {
            return Err(Error::Malformed("a message that is unknown or too long"));
        }
        let mut body = Vec::new();
        while body.len() < len {
            let have = body.len();
            body.resize(len.min(have + CHUNK), 0);
            let new = body.get_mut(have..).unwrap_or_default();
            self.read_exact(new, deadline, &mut alive, stop)?;
        }
        Message::parse(kind, &body)
    }

    /// Ends the connection for both sides.
    pub fn close(&self) {
        self.socket.shutdown();
    }

    fn read_exact(
        &self,
        mut bytes: &mut [u8],
        deadline: Instant,
        alive: &mut dyn FnMut(),
        stop: &Stop,
    ) -> Result<(), Error> {
        while !bytes.is_empty() {
            self.look(deadline, stop)?;
            alive();
            match self.socket.read(bytes) {
                Ok(0) => return Err(Error::Closed),
                Ok(read) => bytes = bytes.get_mut(read..).unwrap_or_default(),
                Err(error) if is_late(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Writes all, and takes what was written off `bytes`.
    fn write_all(&self, bytes: &mut &[u8], deadline: Instant, stop: &Stop) -> Result<(), Error> {
        while !bytes.is_empty() {
            self.look(deadline, stop)?;
            match self.socket.write(bytes) {
                Ok(0) => return Err(Error::Closed),
                Ok(written) => *bytes = bytes.get(written..).unwrap_or_default(),
                Err(error) if is_late(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Before each step: one that reads or writes a byte now and then must not go on for ever.
    fn look(&self, deadline: Instant, stop: &Stop) -> Result<(), Error> {
        if stop.is_set() {
            return Err(Error::Interrupted);
        }
        match Instant::now() < deadline {
            true => Ok(()),
            false if self.is_trusted() => Err(Error::Slow(self.timing.message.as_secs())),
            false => Err(Error::NoGreeting(self.timing.greeting.as_secs())),
        }
    }
}

/// Sets a flag when it is dropped.
pub struct SetAtEnd<'a>(pub &'a Stop);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.set();
    }
}

/// Whether a step did nothing and may be tried again.
fn is_late(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// Regression: on a slow link with many threads a message was late before it was its turn, and its worker lost.
    #[test]
    fn a_message_is_not_late_because_others_are_sent_before() {
        let timing = Timing {
            message: Duration::from_secs(1),
            ..Timing::default()
        };
        let (one, other) = UnixStream::pair().unwrap();
        let open = |socket| Channel::open(Socket::Unix(socket), timing, &Stop::new()).unwrap();
        let (one, other) = thread::scope(|scope| {
            let one = scope.spawn(|| open(one));
            let other = open(other);
            (one.join().unwrap(), other)
        });
        one.trust();
        let sending = one.sending.lock();
        thread::scope(|scope| {
            let waits = scope.spawn(|| one.send(&Message::Done, &Stop::new()));
            thread::sleep(timing.message * 3 / 2);
            drop(sending);
            waits.join().unwrap().unwrap();
        });
        assert_eq!(other.receive(&Stop::new()).unwrap(), Message::Done);
    }
}

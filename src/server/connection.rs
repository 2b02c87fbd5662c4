//! A connection with deadlines: for each request's headers, for the time between requests, and for reading
//! responses.
//!
//! actix-http has a deadline only for the first headers of a connection, and none for a client that does not read.
//! Here the stream enforces them: it sees the bytes, and the requests tell it when they begin and end.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::ServiceRequest;
use actix_web::http::header;
use actix_web::web::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::patience::Patience;
use super::shares::Place;

/// The response to a client that is too slow with its headers.
const TOO_SLOW: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// The deadlines of a connection.
#[derive(Clone, Copy)]
pub(super) struct Deadlines {
    /// For headers, from their first byte or the start of the connection to their last byte.
    pub(super) head: Duration,
    /// For the first byte of the next request.
    pub(super) idle: Duration,
    /// For a client that does not read its response.
    pub(super) unread: Duration,
}

/// What a connection is doing.
#[derive(Clone, Copy)]
enum Phase {
    /// No byte of the next request has arrived.
    Idle { since: Instant },
    /// Headers have begun but not ended.
    Head { since: Instant },
    /// A request is being answered.
    Answering { has_body: bool },
}

/// The activity of a connection, shared by its stream and its requests.
pub(super) struct Activity {
    phase: Cell<Phase>,
    /// The last bytes received.
    tail: Cell<[u8; 4]>,
}

impl Activity {
    /// A connection that must now send its first headers.
    fn new() -> Rc<Self> {
        let since = Instant::now();
        Rc::new(Self {
            phase: Cell::new(Phase::Head { since }),
            tail: Cell::default(),
        })
    }

    fn received(&self, bytes: &[u8]) {
        let mut tail = self.tail.get();
        for byte in bytes.iter().skip(bytes.len().saturating_sub(tail.len())) {
            tail.rotate_left(1);
            tail[3] = *byte;
        }
        self.tail.set(tail);
        if !bytes.is_empty() && matches!(self.phase.get(), Phase::Idle { .. }) {
            let since = Instant::now();
            self.phase.set(Phase::Head { since });
        }
    }

    /// Records that a request's headers have arrived, until its response is complete.
    pub(super) fn begin(request: &ServiceRequest) -> Option<Answering> {
        let activity = request.conn_data::<Rc<Self>>()?;
        let headers = request.headers();
        let has_body = headers.contains_key(header::CONTENT_LENGTH)
            || headers.contains_key(header::TRANSFER_ENCODING);
        activity.phase.set(Phase::Answering { has_body });
        Some(Answering(Rc::clone(activity)))
    }

    fn end(&self) {
        let since = Instant::now();
        let has_body = match self.phase.get() {
            Phase::Answering { has_body } => has_body,
            Phase::Idle { .. } | Phase::Head { .. } => return,
        };
        // After headers without a body, everything received belongs to the next headers.
        let tail = self.tail.get();
        let is_whole = has_body || tail == *b"\r\n\r\n" || tail.ends_with(b"\n\n");
        self.phase.set(if is_whole {
            Phase::Idle { since }
        } else {
            Phase::Head { since }
        });
    }
}

/// A request in progress. Dropping it ends it.
pub(super) struct Answering(Rc<Activity>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Bytes of a response copied to the connection at a time; the rest stays where it is until they are read.
const SLICE: usize = 16 * 1024;

/// A response's body, which keeps the request in progress until it is complete.
pub(super) struct AnswerBody {
    body: BoxBody,
    /// The rest of the last chunk.
    rest: Bytes,
    _answering: Option<Answering>,
}

impl AnswerBody {
    pub(super) fn new(body: impl MessageBody + 'static, answering: Option<Answering>) -> Self {
        Self {
            body: body.boxed(),
            rest: Bytes::new(),
            _answering: answering,
        }
    }
}

impl MessageBody for AnswerBody {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_next(cx)) {
                Some(Ok(chunk)) => self.rest = chunk,
                end => return Poll::Ready(end),
            }
        }
        let size = self.rest.len().min(SLICE);
        Poll::Ready(Some(Ok(self.rest.split_to(size))))
    }
}

/// A connection's stream, which fails when a deadline has passed.
pub(super) struct Connection {
    stream: TcpStream,
    activity: Rc<Activity>,
    deadlines: Deadlines,
    /// When to give up on a client that does not read, and the patience left at that time. None while everything is
    /// read.
    unread: Option<(Instant, Patience)>,
    timer: Option<Pin<Box<Sleep>>>,
    _place: Place,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, deadlines: Deadlines, place: Place) -> Self {
        // Without it, responses are only later. If it fails, the client is gone.
        let _ = stream.set_nodelay(true);
        Self {
            stream,
            activity: Activity::new(),
            deadlines,
            unread: None,
            timer: None,
            _place: place,
        }
    }

    /// The activity, for its requests.
    pub(super) fn activity(&self) -> Rc<Activity> {
        Rc::clone(&self.activity)
    }

    /// Whether a deadline has passed. If not, the task will be woken by then, or earlier.
    fn is_past(&mut self, deadline: Instant, cx: &mut Context<'_>) -> bool {
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        // Keep a timer that fires earlier: it is not moved for each request.
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return true;
            }
            timer.as_mut().reset(deadline);
        }
        false
    }

    /// The response cannot be sent: fails if the client has not read for too long.
    fn poll_unread<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let now = Instant::now();
        let most = self.deadlines.unread;
        let (deadline, _) = *self.unread.get_or_insert_with(|| {
            let patience = Patience::new(most);
            (patience.ends_at(now), patience)
        });
        if !self.is_past(deadline, cx) {
            return Poll::Pending;
        }
        // Also discard what the system has buffered for it.
        let _ = self.stream.set_zero_linger();
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Records that part of a response was sent.
    fn sent(&mut self, bytes: usize) {
        if let Some((deadline, patience)) = &mut self.unread {
            let now = Instant::now();
            let left = deadline.saturating_duration_since(now);
            patience.waited(patience.left().saturating_sub(left));
            patience.moved(bytes);
            *deadline = patience.ends_at(now);
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.activity
            .received(buf.filled().get(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(cx, buf) {
            Poll::Ready(Ok(bytes)) => {
                self.sent(bytes);
                Poll::Ready(Ok(bytes))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.poll_unread(cx),
        }
    }

    /// Called after every poll of the connection: the place to check the deadlines of incoming data.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        let phase = self.activity.phase.get();
        let deadline = match phase {
            Phase::Idle { since } => since + self.deadlines.idle,
            Phase::Head { since } => since + self.deadlines.head,
            Phase::Answering { .. } => return Poll::Ready(Ok(())),
        };
        self.unread = None;
        if !self.is_past(deadline, cx) {
            return Poll::Ready(Ok(()));
        }
        if matches!(phase, Phase::Head { .. }) {
            // All responses have been sent, or this would not be called. It does not matter whether this one
            // arrives.
            let _ = Pin::new(&mut self.stream).poll_write(cx, TOO_SLOW);
        }
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

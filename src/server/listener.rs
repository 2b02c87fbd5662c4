//! The listening sockets, with a limit on connections per address and deadlines for each connection. HTTP/1.1 only.
//!
//! This is what `actix_web::HttpServer` does, with [`Connection`] instead of a bare stream.

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::rc::Rc;
use std::time::Duration;

use actix_http::HttpService;
use actix_http::error::DispatchError;
use actix_server::{Server, ServerBuilder};
use actix_service::{IntoServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_web::dev::AppConfig;
use actix_web::middleware::from_fn;
use actix_web::{App, web};
use tokio::net::{TcpSocket, TcpStream};
use tracing_actix_web::TracingLogger;

use super::connection::{Connection, Deadlines};
use super::shares::Shares;
use super::{Shared, answer, descriptors, routes, trace};

/// Threads that receive requests; the work itself is done elsewhere.
const MOST_WORKERS: usize = 4;
/// Connections that wait to be accepted.
const BACKLOG: u32 = 1_024;
/// Bytes of a response that the system buffers for a client: few enough to notice that a slow client reads (Linux
/// reports free space only when a third is free), and enough for some megabytes a second.
const SEND_BUFFER: u32 = 128 * 1024;
/// How long a sender may continue with an unwanted body, so that the response reaches it.
const LINGER: Duration = Duration::from_secs(1);
/// By default, one address may hold one in this many connections.
const SHARES: usize = 4;

/// Binds the sockets of `listen` (`host:port`) and creates the server on them, which must be awaited.
pub(super) fn start(
    shared: &web::Data<Shared>,
    listen: &str,
) -> io::Result<(Server, Vec<SocketAddr>)> {
    let sockets = bind(listen)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = cores.min(MOST_WORKERS);
    let connections = descriptors::room_for_connections();
    let share = (connections / SHARES).max(1);
    let shares = Shares::default();
    let mut server = Server::build()
        .workers(workers)
        .max_concurrent_connections((connections / workers).max(1))
        .shutdown_timeout(shared.limits.stop.as_secs())
        .disable_signals();
    let mut addresses = Vec::new();
    for socket in sockets {
        addresses.push(socket.local_addr()?);
        server = serve(server, socket, shared.clone(), shares.clone(), share)?;
    }
    Ok((server.run(), addresses))
}

/// Listens on every address of a host name; fails if none can be bound.
fn bind(listen: &str) -> io::Result<Vec<TcpListener>> {
    let mut sockets = Vec::new();
    let mut failed = None;
    for address in listen.to_socket_addrs()? {
        match bind_one(address) {
            Ok(socket) => sockets.push(socket),
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        Some(error) if sockets.is_empty() => Err(error),
        Some(_) | None if !sockets.is_empty() => Ok(sockets),
        Some(_) | None => Err(io::Error::other("the name stands for no address")),
    }
}

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // Otherwise a restart would have to wait until the last connections have timed out.
    socket.set_reuseaddr(true)?;
    // Connections inherit it from the listening socket.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}

/// Serves a socket's connections, within the limit per address.
fn serve(
    server: ServerBuilder,
    socket: TcpListener,
    shared: web::Data<Shared>,
    shares: Shares,
    share: usize,
) -> io::Result<ServerBuilder> {
    let stopping = server.graceful_shutdown_signal();
    server.listen("http", socket, move || {
        let (shared, shares, stopping) = (shared.clone(), shares.clone(), stopping.clone());
        let limits = &shared.limits;
        let deadlines = Deadlines {
            head: limits.head_time,
            idle: limits.keep_alive,
            unread: limits.unread_time,
        };
        let app = App::new()
            .app_data(shared.clone())
            .configure(routes)
            .wrap(from_fn(answer::finish))
            .wrap(TracingLogger::<trace::Spans>::new())
            .into_factory()
            .map_err(|error: actix_web::Error| error.error_response());
        let http = HttpService::build()
            .keep_alive(limits.keep_alive)
            // Headers have our own deadline.
            .client_request_timeout(Duration::ZERO)
            .client_disconnect_timeout(LINGER)
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .on_connect_ext(|connection: &Connection, data| {
                data.insert::<Rc<_>>(connection.activity());
            })
            .h1(map_config(app, |()| AppConfig::default()));
        fn_service(move |stream: TcpStream| {
            let (shared, shares) = (shared.clone(), shares.clone());
            async move {
                let peer = stream.peer_addr().map_err(DispatchError::Io)?;
                let configured = shared.engine.config().server.connections_per_address;
                // Closed without a response: that would cost more than the connection.
                let place = shares
                    .place(peer.ip(), configured.unwrap_or(share))
                    .ok_or(DispatchError::DisconnectTimeout)?;
                Ok((Connection::new(stream, deadlines, place), Some(peer)))
            }
        })
        .and_then(http)
    })
}

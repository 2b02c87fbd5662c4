//! A PostgreSQL of the tests' own: one cluster a test process, one database a test.
//!
//! A test that stops the server has a cluster for itself. A cluster listens on a
//! socket in a temporary folder and nowhere else. The shell that keeps it reads
//! orders from a pipe that the test process holds open, so that however the tests
//! end, the cluster stops and its folder goes.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

/// `$1` is where PostgreSQL's programs are, `$2` whether it waits for its disk. Says `ready FOLDER`, or why not, and `done` to each order.
const KEEPER: &str = r#"
set -eu
cd /
folder=$(mktemp -d -t purgehook-postgres-XXXXXX 2>/dev/null || mktemp -d /tmp/purgehook-postgres-XXXXXX)
trap 'rm -rf "$folder"' EXIT
start() {
    "$1/pg_ctl" --pgdata="$folder/data" --log="$folder/log" --wait start >/dev/null 2>&1 </dev/null \
        --options="-c listen_addresses= -c unix_socket_directories=$folder -c fsync=$2 -c max_connections=400" ||
        { cat "$folder/log"; exit 1; }
}
stop() {
    "$1/pg_ctl" --pgdata="$folder/data" --mode=immediate stop >/dev/null 2>&1 </dev/null
}
# Sends a signal to the server and each of its processes.
signal() {
    server=$(head -n 1 "$folder/data/postmaster.pid")
    kill -s "$1" "$server"
    for stat in /proc/[0-9]*/stat; do
        { read -r process _ _ parent _ <"$stat"; } 2>/dev/null || continue
        if [ "$parent" = "$server" ]; then kill -s "$1" "$process" 2>/dev/null || true; fi
    done
}
"$1/initdb" --pgdata="$folder/data" --username=purgehook --auth=trust \
    --encoding=UTF8 --locale=C.UTF-8 --no-sync >"$folder/log" 2>&1 ||
    { cat "$folder/log"; exit 1; }
start "$1" "$2"
echo "ready $folder"
while read -r order; do
    case $order in
        start | stop) $order "$1" "$2" ;;
        STOP | CONT) signal "$order" ;;
    esac
    echo "done"
done
if [ -e "$folder/data/postmaster.pid" ]; then
    signal CONT
    stop "$1"
fi
"#;

/// A server with its data. It goes when this is dropped.
pub struct Cluster {
    folder: String,
    keeper: Mutex<Keeper>,
    databases: AtomicU32,
}

/// The shell that keeps a cluster.
struct Keeper {
    shell: Child,
    /// Its end tells the shell to clean up.
    orders: Option<ChildStdin>,
    says: Lines<BufReader<ChildStdout>>,
}

/// The address of a new and empty database.
#[allow(dead_code, reason = "a bench has clusters of its own")]
pub async fn new_database() -> String {
    static SHARED: OnceLock<Cluster> = OnceLock::new();

    SHARED.get_or_init(Cluster::start).new_database().await
}

impl Cluster {
    /// Starts a server that does not wait for its disk: it ends with the tests.
    pub fn start() -> Self {
        Self::start_with_fsync("off")
    }

    fn start_with_fsync(fsync: &str) -> Self {
        let mut shell = as_someone_ordinary()
            .args(["sh", "-c", KEEPER, "keeper"])
            .arg(programs())
            .arg(fsync)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell starts");
        let orders = shell.stdin.take();
        let mut says = BufReader::new(shell.stdout.take().expect("it was asked for")).lines();
        let mut said = String::new();
        for line in says.by_ref() {
            let line = line.expect("the keeper speaks UTF-8");
            if let Some(folder) = line.strip_prefix("ready ") {
                return Self {
                    folder: folder.to_owned(),
                    keeper: Mutex::new(Keeper {
                        shell,
                        orders,
                        says,
                    }),
                    databases: AtomicU32::new(0),
                };
            }
            said.push_str(&line);
            said.push('\n');
        }
        let _ = shell.wait();
        panic!("PostgreSQL does not start:\n{said}");
    }

    /// The address of a new and empty database.
    pub async fn new_database(&self) -> String {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{number}");
        let mut connection = PgConnection::connect(&self.address("postgres"))
            .await
            .expect("the cluster of the tests answers");
        connection
            .execute(AssertSqlSafe(format!("CREATE DATABASE {name}")))
            .await
            .expect("the cluster of the tests makes databases");
        self.address(&name)
    }

    fn address(&self, database: &str) -> String {
        format!(
            "postgres://purgehook@localhost/{database}?host={}",
            self.folder
        )
    }
}

#[allow(
    dead_code,
    reason = "only the benches measure it, and only the tests of the whole program take it away"
)]
impl Cluster {
    /// Starts a server whose commits are on disk, as in production.
    pub fn start_durable() -> Self {
        Self::start_with_fsync("on")
    }

    /// Where it keeps its data, in `data`, and its socket.
    pub fn folder(&self) -> &str {
        &self.folder
    }

    /// Ends the server at once, as a crash would: what is committed stays.
    pub fn crash(&self) {
        self.order("stop");
    }

    /// Starts the server that [`crash`](Self::crash) ended.
    pub fn start_again(&self) {
        self.order("start");
    }

    /// From now on the server takes connections and answers nothing.
    pub fn freeze(&self) {
        self.order("STOP");
    }

    /// Lets a frozen server go on.
    pub fn thaw(&self) {
        self.order("CONT");
    }

    /// From now on the first database takes no writes; or it does again, from sessions that begin then.
    pub async fn let_write(&self, write: bool) {
        let mut connection = PgConnection::connect(&self.address("postgres"))
            .await
            .expect("the cluster of the tests answers");
        let statements = if write {
            [
                "ALTER DATABASE test_0 RESET default_transaction_read_only",
                "SELECT 1",
            ]
        } else {
            [
                "ALTER DATABASE test_0 SET default_transaction_read_only = on",
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'test_0'",
            ]
        };
        for statement in statements {
            connection
                .execute(statement)
                .await
                .expect("the cluster of the tests takes orders");
        }
    }

    fn order(&self, order: &str) {
        let mut keeper = self.keeper.lock().expect("no order panics");
        let orders = keeper.orders.as_mut().expect("it is open until the end");
        writeln!(orders, "{order}").expect("the keeper takes orders");
        match keeper.says.next() {
            Some(Ok(said)) if said == "done" => {}
            said => panic!("PostgreSQL did not take {order}: {said:?}"),
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Ok(keeper) = self.keeper.get_mut() {
            keeper.orders = None;
            let _ = keeper.shell.wait();
        }
    }
}

/// Where the server's programs are: Debian keeps them out of PATH.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter();
    let mut folders: Vec<PathBuf> = versions
        .flatten()
        .flatten()
        .map(|version| version.path().join("bin"))
        .collect();
    folders.sort();
    folders.extend(
        std::env::var_os("PATH")
            .iter()
            .flat_map(std::env::split_paths),
    );
    folders
        .into_iter()
        .find(|folder| folder.join("initdb").exists() && folder.join("pg_ctl").exists())
        .expect("PostgreSQL's server is not here: run tests/run, or install PostgreSQL 15 or newer")
}

/// PostgreSQL refuses to run as root: as root, the user that Debian's package makes runs it.
fn as_someone_ordinary() -> Command {
    let is_root = Path::new("/proc/self")
        .metadata()
        .is_ok_and(|process| std::os::unix::fs::MetadataExt::uid(&process) == 0);
    if is_root {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--"]);
        command
    } else {
        Command::new("env")
    }
}

//! A PostgreSQL of the tests' own: one cluster a test process, one database a test.
//!
//! The cluster listens on a socket in a temporary folder and nowhere else. The
//! shell that keeps it reads from a pipe that the test process holds open, so
//! that however the tests end, the cluster stops and its folder goes.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

/// `$1` is where PostgreSQL's programs are. Says `ready FOLDER`, or why not.
const KEEPER: &str = r#"
set -eu
cd /
folder=$(mktemp -d /tmp/purgehook-postgres-XXXXXX)
trap 'rm -rf "$folder"' EXIT
"$1/initdb" --pgdata="$folder/data" --username=purgehook --auth=trust \
    --encoding=UTF8 --locale=C.UTF-8 --no-sync >"$folder/log" 2>&1 ||
    { cat "$folder/log"; exit 1; }
"$1/pg_ctl" --pgdata="$folder/data" --log="$folder/log" --wait start >/dev/null 2>&1 </dev/null \
    --options="-c listen_addresses= -c unix_socket_directories=$folder -c fsync=off -c max_connections=400" ||
    { cat "$folder/log"; exit 1; }
echo "ready $folder"
read -r _ || true
"$1/pg_ctl" --pgdata="$folder/data" --mode=immediate stop >/dev/null 2>&1
"#;

struct Cluster {
    folder: String,
    /// Its end tells the keeper to clean up.
    _open: ChildStdin,
}

/// The address of a new and empty database.
pub async fn new_database() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);

    let cluster = cluster();
    let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let mut connection = PgConnection::connect(&cluster.address("postgres"))
        .await
        .expect("the cluster of the tests answers");
    connection
        .execute(AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .await
        .expect("the cluster of the tests makes databases");
    cluster.address(&name)
}

impl Cluster {
    fn address(&self, database: &str) -> String {
        format!(
            "postgres://purgehook@localhost/{database}?host={}",
            self.folder
        )
    }
}

fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();

    CLUSTER.get_or_init(|| {
        let programs = programs();
        #[expect(
            clippy::zombie_processes,
            reason = "it outlives every test and ends with this process"
        )]
        let mut keeper = as_someone_ordinary()
            .args(["sh", "-c", KEEPER, "keeper"])
            .arg(programs)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell starts");
        let open = keeper.stdin.take().expect("it was asked for");
        let mut said = String::new();
        for line in BufReader::new(keeper.stdout.take().expect("it was asked for")).lines() {
            let line = line.expect("the keeper speaks UTF-8");
            if let Some(folder) = line.strip_prefix("ready ") {
                return Cluster {
                    folder: folder.to_owned(),
                    _open: open,
                };
            }
            said.push_str(&line);
            said.push('\n');
        }
        panic!("PostgreSQL does not start:\n{said}");
    })
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

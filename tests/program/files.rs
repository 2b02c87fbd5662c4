//! The database's files are taken away under a running program.

use std::fs;
use std::path::{Path, PathBuf};

use purgehook::sandbox::{Change, Repository};

use crate::world::World;

/// What is done to the file, or to the log beside it.
type Deed = (&'static str, fn(&Path));

const DEEDS: [Deed; 5] = [
    ("", |file| fs::remove_file(file).unwrap()),
    ("", |file| {
        let copy = file.with_extension("copy");
        fs::copy(file, &copy).unwrap();
        fs::rename(&copy, file).unwrap();
    }),
    ("", |file| cut(file, 100)),
    ("-wal", |file| fs::remove_file(file).unwrap()),
    ("-wal", |file| cut(file, 100)),
];

fn cut(file: &Path, length: u64) {
    let file = fs::File::options().write(true).open(file).unwrap();
    file.set_len(length).unwrap();
}

async fn push(world: &World, website: &Repository, path: &str) -> u16 {
    website.commit("main", &[Change::write(path, path)]);
    world.send(&website.push("main").unwrap()).await.0
}

#[tokio::test]
async fn a_file_that_is_gone_is_answered_503_said_and_the_program_ends() {
    for (name, deed) in DEEDS {
        let mut world = World::serving().await;
        let website = world.website();
        assert_eq!(push(&world, &website, "a.html").await, 202);
        let database = world
            .database()
            .strip_prefix("sqlite://")
            .unwrap()
            .to_owned();
        let file = PathBuf::from(format!("{database}{name}"));

        deed(&file);

        assert_eq!(push(&world, &website, "b.html").await, 503, "{file:?}");
        assert_eq!(world.ended_by_itself().await.code(), Some(1));
        let log = world.log();
        assert!(log.contains("nothing more can be kept"), "{log}");
    }
}

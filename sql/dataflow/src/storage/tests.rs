//! The suite that every [`Store`] and [`CutLog`] passes, and what only a real disk can be asked:
//! kills, damaged files, a folder that is in use.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::database::Limits;
use super::*;
use crate::error::{Error, SqlState};

type Entries = Vec<(Vec<u8>, Vec<u8>)>;

fn entries(store: &dyn Store, tree: Tree, prefix: &[u8]) -> Entries {
    let mut found = Vec::new();
    store
        .scan(tree, prefix, &mut |key, value| {
            found.push((key.to_vec(), value));
            Ok(())
        })
        .unwrap();
    found
}

/// Runs a test on both stores. The second argument gives the store as a killed process finds it.
fn on_both(test: impl Fn(Box<dyn Store>, &dyn Fn(Box<dyn Store>) -> Box<dyn Store>)) {
    let last: parking_lot::Mutex<Option<Arc<MemoryStore>>> = parking_lot::Mutex::default();
    #[derive(Debug)]
    struct Shared(Arc<MemoryStore>);
    impl Store for Shared {
        fn write(&self, tree: Tree, changes: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> Result<()> {
            self.0.write(tree, changes)
        }
        fn flush(&self) -> Result<()> {
            self.0.flush()
        }
        fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>> {
            self.0.get(tree, key)
        }
        fn scan(&self, tree: Tree, prefix: &[u8], each: &mut dyn FnMut(&[u8], Vec<u8>) -> Result<()>) -> Result<()> {
            self.0.scan(tree, prefix, each)
        }
        fn size(&self) -> u64 {
            self.0.size()
        }
    }
    let make = |store: MemoryStore| {
        let store = Arc::new(store);
        *last.lock() = Some(store.clone());
        Box::new(Shared(store)) as Box<dyn Store>
    };
    test(make(MemoryStore::new()), &|_| {
        let crashed = last.lock().as_ref().unwrap().crash();
        make(crashed)
    });

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let limits = Limits { reopen_after: 64 << 10 };
    let open = || Box::new(SledStore::open_with(&path, limits, None).unwrap()) as Box<dyn Store>;
    test(open(), &|store| {
        drop(store);
        open()
    });
}

#[test]
fn writes_are_seen_at_once_and_kept_by_a_flush_only() {
    on_both(|store, crash| {
        store.write(Tree::Log, vec![(b"a".to_vec(), Some(b"1".to_vec())), (b"b".to_vec(), Some(vec![]))]).unwrap();
        assert_eq!(store.get(Tree::Log, b"a").unwrap().unwrap(), b"1");
        assert_eq!(store.get(Tree::Base, b"a").unwrap(), None);
        store.flush().unwrap();
        store.write(Tree::Log, vec![(b"a".to_vec(), None), (b"c".to_vec(), Some(b"3".to_vec()))]).unwrap();
        store.write(Tree::Base, vec![(b"d".to_vec(), Some(b"4".to_vec()))]).unwrap();
        assert_eq!(store.get(Tree::Log, b"a").unwrap(), None);
        let both = vec![(b"b".to_vec(), vec![]), (b"c".to_vec(), b"3".to_vec())];
        assert_eq!(entries(store.as_ref(), Tree::Log, b""), both);
        let store = crash(store);
        let flushed = vec![(b"a".to_vec(), b"1".to_vec()), (b"b".to_vec(), vec![])];
        assert_eq!(entries(store.as_ref(), Tree::Log, b""), flushed);
        assert_eq!(entries(store.as_ref(), Tree::Base, b""), vec![]);
    });
}

#[test]
fn a_scan_takes_its_prefix_in_order_and_stops_at_an_error() {
    on_both(|store, _| {
        let changes = (0..300_u16).map(|n| (n.to_be_bytes().to_vec(), Some(n.to_le_bytes().to_vec()))).collect();
        store.write(Tree::Base, changes).unwrap();
        store.flush().unwrap();
        store.write(Tree::Base, vec![(vec![0, 7], None), (vec![0, 9, 1], Some(vec![]))]).unwrap();
        let found = entries(store.as_ref(), Tree::Base, &[0]);
        assert_eq!(found.len(), 256);
        assert!(found.is_sorted());
        assert!(found.iter().all(|(key, _)| key[0] == 0 && key != &[0, 7]));
        assert_eq!(entries(store.as_ref(), Tree::Base, &[2]), vec![]);
        let mut seen = 0;
        let result = store.scan(Tree::Base, &[], &mut |_, _| {
            seen += 1;
            if seen == 3 { Err(Error::internal("enough")) } else { Ok(()) }
        });
        assert_eq!((seen, result.unwrap_err().message()), (3, "enough"));
    });
}

#[test]
fn a_store_is_a_map_whatever_is_done_to_it() {
    on_both(|mut store, crash| {
        let mut random = StdRng::seed_from_u64(7);
        let mut durable: [BTreeMap<Vec<u8>, Vec<u8>>; 3] = Default::default();
        let mut model = durable.clone();
        for _ in 0..400 {
            let tree = Tree::ALL[random.random_range(0..3)];
            let changes: Vec<_> = (0..random.random_range(1..20))
                .map(|_| {
                    let key: Vec<u8> = (0..random.random_range(1..4)).map(|_| random.random_range(0..6)).collect();
                    let size = if random.random_bool(0.05) { 70_000 } else { random.random_range(0..50) };
                    let value = random.random_bool(0.6).then(|| vec![random.random(); size]);
                    (key, value)
                })
                .collect();
            for (key, value) in &changes {
                match value {
                    Some(value) => model[tree as usize].insert(key.clone(), value.clone()),
                    None => model[tree as usize].remove(key),
                };
            }
            store.write(tree, changes).unwrap();
            if random.random_bool(0.2) {
                store.flush().unwrap();
                durable = model.clone();
            }
            if random.random_bool(0.02) {
                store = crash(store);
                model = durable.clone();
            }
            let key: Vec<u8> = (0..random.random_range(1..3)).map(|_| random.random_range(0..6)).collect();
            assert_eq!(store.get(tree, &key).unwrap().as_ref(), model[tree as usize].get(&key));
            let expected = model[tree as usize].iter().filter(|(found, _)| found.starts_with(&key));
            let expected: Entries = expected.map(|(key, value)| (key.clone(), value.clone())).collect();
            assert!(entries(store.as_ref(), tree, &key) == expected);
        }
    });
}

#[test]
fn a_scan_of_many_batches_is_whole_while_somebody_flushes() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { reopen_after: 8 << 20 };
    let store = SledStore::open_with(&folder.path().join("state"), limits, None).unwrap();
    let changes = (0..300_u32).map(|n| (n.to_be_bytes().to_vec(), Some(vec![n as u8; 60 << 10]))).collect();
    store.write(Tree::Base, changes).unwrap();
    store.flush().unwrap();
    let (store, stop) = (&store, &AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut n = 0_u32;
            while !stop.load(Ordering::Relaxed) {
                n += 1;
                store.write(Tree::Log, vec![(n.to_be_bytes().to_vec(), Some(vec![0; 200 << 10]))]).unwrap();
                store.write(Tree::Base, vec![((n % 300).to_be_bytes().to_vec(), Some(vec![n as u8; 10]))]).unwrap();
                store.flush().unwrap();
            }
        });
        for _ in 0..30 {
            let keys: Vec<u32> = entries(store, Tree::Base, b"")
                .into_iter()
                .map(|(key, _)| u32::from_be_bytes(key.try_into().unwrap()))
                .collect();
            assert_eq!(keys, (0..300).collect::<Vec<_>>());
        }
        stop.store(true, Ordering::Relaxed);
    });
}

// ---- the cut log

fn logs(test: impl Fn(&dyn Fn() -> StoreCutLog)) {
    let store = Arc::new(MemoryStore::new());
    test(&|| StoreCutLog::open(store.clone()).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cuts");
    let limits = Limits { reopen_after: 1 << 20 };
    test(&|| StoreCutLog::open(Arc::new(SledStore::open_with(&path, limits, None).unwrap())).unwrap());
}

#[test]
fn records_are_durable_in_order_and_kept_until_truncated() {
    logs(|open| {
        let log = open();
        let (done, answers) = channel();
        for epoch in 1..=2000_u64 {
            let done = done.clone();
            let durable = Box::new(move |result: Result<()>| done.send((epoch, result)).unwrap());
            log.append(epoch, vec![epoch as u8; (epoch % 977) as usize], durable);
        }
        let order: Vec<u64> = answers.iter().take(2000).map(|(epoch, result)| (result.unwrap(), epoch).1).collect();
        assert!(order.iter().copied().eq(1..=2000));
        log.truncate_below(1990);
        let kept = log.read_from(0).unwrap();
        assert!(kept.iter().map(|(epoch, _)| *epoch).eq(1990..=2000));
        drop(log);
        let log = open();
        let again = log.read_from(1995).unwrap();
        assert!(again.iter().map(|(epoch, _)| *epoch).eq(1995..=2000));
        assert_eq!(again[0].1, vec![1995_u64 as u8; 1995 % 977]);
        let (done, answers) = channel();
        let durable = Box::new(move |result: Result<()>| done.send(result).unwrap());
        log.append(2000, vec![], durable);
        assert_eq!(answers.recv().unwrap().unwrap_err().state(), SqlState::InternalError);
    });
}

#[test]
fn a_store_that_fails_fails_every_append_after() {
    #[derive(Debug, Default)]
    struct Full(MemoryStore, AtomicUsize);
    impl Store for Full {
        fn write(&self, tree: Tree, changes: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> Result<()> {
            self.0.write(tree, changes)
        }
        fn flush(&self) -> Result<()> {
            match self.1.fetch_add(1, Ordering::Relaxed) {
                0 => self.0.flush(),
                _ => Err(Error::new(SqlState::DiskFull, "no space")),
            }
        }
        fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>> {
            self.0.get(tree, key)
        }
        fn scan(&self, tree: Tree, prefix: &[u8], each: &mut dyn FnMut(&[u8], Vec<u8>) -> Result<()>) -> Result<()> {
            self.0.scan(tree, prefix, each)
        }
        fn size(&self) -> u64 {
            0
        }
    }
    let log = StoreCutLog::open(Arc::new(Full::default())).unwrap();
    let append = |epoch| {
        let (done, answer) = channel();
        log.append(epoch, vec![1], Box::new(move |result| done.send(result).unwrap()));
        answer.recv().unwrap()
    };
    append(1).unwrap();
    assert_eq!(append(2).unwrap_err().state(), SqlState::DiskFull);
    assert_eq!(append(3).unwrap_err().state(), SqlState::DiskFull);
}

// ---- the folder

#[test]
fn a_folder_in_use_is_refused_until_both_databases_are_closed() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::open(folder.path()).unwrap();
    let cuts = storage.cuts.clone();
    assert_eq!(Storage::open(folder.path()).unwrap_err().state(), SqlState::LockNotAvailable);
    drop(storage);
    assert_eq!(Storage::open(folder.path()).unwrap_err().state(), SqlState::LockNotAvailable);
    drop(cuts);
    Storage::open(folder.path()).unwrap();
}

// ---- kills

const KILL_DIR: &str = "THALWEG_TEST_KILL_DIR";

/// What generation `number` holds: chunks of the last three generations, some overwritten each time.
fn generation(number: u64) -> [BTreeMap<Vec<u8>, Vec<u8>>; 3] {
    let mut trees: [BTreeMap<Vec<u8>, Vec<u8>>; 3] = Default::default();
    trees[Tree::Manifest as usize].insert(b"generation".to_vec(), number.to_be_bytes().to_vec());
    for kept in number.saturating_sub(2).max(1)..=number {
        let mut random = StdRng::seed_from_u64(kept);
        for n in 0..random.random_range(1..20_u64) {
            let key = [kept.to_be_bytes(), n.to_be_bytes()].concat();
            trees[Tree::Log as usize].insert(key, chunk(&mut random));
        }
    }
    for slot in 0..number.min(8) {
        let written = number - (number - slot - 1) % 8;
        let mut random = StdRng::seed_from_u64(1_000_000 + written);
        trees[Tree::Base as usize].insert(slot.to_be_bytes().to_vec(), chunk(&mut random));
    }
    trees
}

fn chunk(random: &mut StdRng) -> Vec<u8> {
    let size = if random.random_bool(0.3) { random.random_range(0..60_000) } else { random.random_range(0..300) };
    let mut bytes = vec![0; size];
    random.fill(bytes.as_mut_slice());
    bytes
}

fn stored(store: &dyn Store) -> [BTreeMap<Vec<u8>, Vec<u8>>; 3] {
    Tree::ALL.map(|tree| entries(store, tree, b"").into_iter().collect())
}

fn number_of(store: &dyn Store) -> u64 {
    let found = store.get(Tree::Manifest, b"generation").unwrap();
    found.map_or(0, |bytes| u64::from_be_bytes(bytes.try_into().unwrap()))
}

fn open_for_kills(path: &Path) -> SledStore {
    SledStore::open_with(path, Limits { reopen_after: 1 << 20 }, None).unwrap()
}

/// Not a test of its own: the process that `kills_end_on_a_flush` kills.
#[test]
fn kill_child() {
    let Ok(path) = std::env::var(KILL_DIR) else { return };
    let store = open_for_kills(Path::new(&path));
    let mut number = number_of(&store);
    let mut present = stored(&store);
    loop {
        number += 1;
        let wanted = generation(number);
        for tree in Tree::ALL {
            let (old, new) = (&present[tree as usize], &wanted[tree as usize]);
            let gone = old.keys().filter(|key| !new.contains_key(*key)).map(|key| (key.clone(), None));
            let put = new.iter().filter(|(key, value)| old.get(*key) != Some(value));
            let put = put.map(|(key, value)| (key.clone(), Some(value.clone())));
            for change in gone.chain(put) {
                store.write(tree, vec![change]).unwrap();
            }
            // A reader in the middle must not make half a generation durable.
            entries(&store, tree, b"");
        }
        store.flush().unwrap();
        println!("flushed {number}");
        present = wanted;
    }
}

#[test]
fn kills_end_on_a_flush() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let mut random = StdRng::seed_from_u64(std::process::id().into());
    let mut reached = 0;
    for kill in 0..20 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["storage::tests::kill_child", "--exact", "--nocapture", "--test-threads=1"])
            .env(KILL_DIR, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (said, heard) = channel();
        let listener = std::thread::spawn(move || {
            for line in lines.map_while(std::result::Result::ok) {
                if let Some(number) = line.split("flushed ").nth(1) {
                    let _ = said.send(number.trim().parse::<u64>().unwrap());
                }
            }
        });
        // Every third kill hits the opening, the others come once the first flush is heard.
        let mut acknowledged = reached;
        if kill % 3 != 2 {
            acknowledged = heard.recv_timeout(Duration::from_secs(60)).unwrap();
        }
        std::thread::sleep(Duration::from_micros(random.random_range(0..60_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        listener.join().unwrap();
        acknowledged = heard.try_iter().last().unwrap_or(acknowledged);
        let store = open_for_kills(&path);
        reached = number_of(&store);
        assert!(reached >= acknowledged, "kill {kill}: generation {acknowledged} was acknowledged, found {reached}");
        assert!(reached <= acknowledged + 1, "kill {kill}: generation {reached} was never acknowledged");
        if reached > 0 {
            assert!(stored(&store) == generation(reached), "kill {kill}: generation {reached} is not whole");
        }
    }
    assert!(reached > 20, "the children only came to generation {reached}");
}

// ---- damage

fn files_below(path: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            files_below(&entry, found);
        } else {
            found.push(entry);
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
        let target = to.join(entry.file_name().unwrap());
        if entry.is_dir() {
            copy(&entry, &target);
        } else {
            fs::copy(&entry, &target).unwrap();
        }
    }
}

/// Reads everything; an error is an answer, a difference is not.
fn read_damaged(path: &Path, expected: &[BTreeMap<Vec<u8>, Vec<u8>>; 3]) -> Result<()> {
    let store = SledStore::open(path)?;
    for tree in Tree::ALL {
        let mut found = BTreeMap::new();
        store.scan(tree, b"", &mut |key, value| {
            found.insert(key.to_vec(), value);
            Ok(())
        })?;
        assert!(found == expected[tree as usize], "a damaged file gave other entries");
    }
    Ok(())
}

#[test]
fn damage_is_an_error_and_never_an_answer() {
    let folder = tempfile::tempdir().unwrap();
    let (made, broken) = (folder.path().join("made/state"), folder.path().join("broken"));
    {
        let store = SledStore::open(&made).unwrap();
        let mut present: [BTreeMap<Vec<u8>, Vec<u8>>; 3] = Default::default();
        for number in 1..=12 {
            let wanted = generation(number);
            for tree in Tree::ALL {
                let (old, new) = (&present[tree as usize], &wanted[tree as usize]);
                let gone = old.keys().filter(|key| !new.contains_key(*key)).map(|key| (key.clone(), None));
                let put = new.iter().map(|(key, value)| (key.clone(), Some(value.clone())));
                store.write(tree, gone.chain(put).collect()).unwrap();
            }
            store.flush().unwrap();
            present = wanted;
        }
    }
    let expected = generation(12);
    let mut files = Vec::new();
    files_below(folder.path(), &mut files);
    files.retain(|file| fs::metadata(file).unwrap().len() > 0);
    let mut random = StdRng::seed_from_u64(11);
    let mut errors = 0;
    for round in 0..60 {
        let _ = fs::remove_dir_all(&broken);
        copy(&folder.path().join("made"), &broken);
        // Metadata is small and matters most: every other round hits it.
        let among: Vec<_> =
            files.iter().filter(|f| round % 2 == 0 || f.to_string_lossy().contains("metadata")).collect();
        let file = among[random.random_range(0..among.len())];
        let target = broken.join(file.strip_prefix(folder.path().join("made")).unwrap());
        let mut bytes = fs::read(&target).unwrap();
        let at = random.random_range(0..bytes.len());
        if round % 5 == 4 {
            bytes.truncate(at);
        } else {
            bytes[at] ^= 1 << random.random_range(0..8);
        }
        fs::write(&target, bytes).unwrap();
        if let Err(error) = read_damaged(&broken.join("state"), &expected) {
            errors += 1;
            let state = error.state();
            assert!(matches!(state, SqlState::DataCorrupted | SqlState::IoError), "{target:?} at {at}: {error:?}");
            assert!(error.hint_text().is_some(), "{target:?} at {at}: {error:?}");
        }
    }
    assert!(errors > 20, "only {errors} of 60 damaged files were noticed: the test hits nothing");
}

#[test]
fn a_database_whose_opening_was_killed_is_not_emptied() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    {
        let store = SledStore::open(&path).unwrap();
        store.write(Tree::Manifest, vec![(b"k".to_vec(), Some(b"v".to_vec()))]).unwrap();
        store.flush().unwrap();
    }
    drop(SledStore::open(&path).unwrap());
    // As sled leaves it when it is killed between removing the old logs and making the next one.
    let mut files = Vec::new();
    files_below(&path.join("metadata"), &mut files);
    for file in files.iter().filter(|file| file.file_name().unwrap().to_string_lossy().starts_with("log_")) {
        fs::remove_file(file).unwrap();
    }
    // sled alone reads that once more, removes its snapshot and is empty the next time.
    for _ in 0..3 {
        let store = SledStore::open(&path).unwrap();
        assert_eq!(store.get(Tree::Manifest, b"k").unwrap().unwrap(), b"v");
    }
}

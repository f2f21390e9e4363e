//! A script: what one round does, drawn from its seed before anything runs.
//!
//! That it is data makes a failing round small: steps, views and rows can be left out and the rest
//! run again.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::source::Record;
use super::sql::{Col, Rel, Writer};
use super::value::{ColumnSpec, KINDS, Kind};

/// What a database is run with.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) sled: bool,
    pub(crate) workers: usize,
    pub(crate) epoch_rows: usize,
    pub(crate) batch_rows: usize,
    pub(crate) checkpoint_ms: u64,
    /// Whether many statements change 1,000 rows and more. Nothing is joined then: rows times rows.
    pub(crate) large: bool,
}

/// A source, or a table.
#[derive(Debug, Clone)]
pub(crate) struct SourceSpec {
    pub(crate) name: String,
    /// Whether rows come by INSERT and may be changed.
    pub(crate) table: bool,
    pub(crate) columns: Vec<ColumnSpec>,
}

/// A view.
#[derive(Debug, Clone)]
pub(crate) struct ViewSpec {
    /// Its SELECT, relations in FROM as `⟦name⟧`.
    pub(crate) template: String,
    pub(crate) cols: Vec<Col>,
    /// The views and sources it reads.
    pub(crate) reads: BTreeSet<String>,
    pub(crate) depth: usize,
    /// Whether it joins, or reads what does: it may have many rows, and is joined no further.
    pub(crate) wide: bool,
}

/// One step.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Creates a view.
    Create(String),
    /// Drops a view that nothing reads.
    Drop(String),
    /// Changes a table: statements that no row makes fail.
    Change(String),
    /// Appends to a partition of a source, or inserts into a table.
    Append(String, i32, Vec<Record>),
    /// Waits until all is read, then compares every view.
    Compare,
    /// Ends the engine, kindly or not, and opens it again.
    Restart { crash: bool },
}

/// One round.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(crate) setup: Setup,
    pub(crate) sources: Vec<SourceSpec>,
    pub(crate) views: BTreeMap<String, ViewSpec>,
    pub(crate) steps: Vec<Step>,
}

const MAX_DEPTH: usize = 4;

impl Script {
    /// Draws a round.
    pub(crate) fn draw(seed: u64, views: usize, used: &mut BTreeMap<&'static str, usize>) -> Script {
        let mut random = StdRng::seed_from_u64(seed);
        let setup = Setup {
            sled: random.random_bool(0.4),
            workers: *[1, 2, 8].choose(&mut random).unwrap(),
            epoch_rows: *[1, 10, 100_000].choose(&mut random).unwrap(),
            batch_rows: *[1, 7, 64, 8192].choose(&mut random).unwrap(),
            checkpoint_ms: *[1, 20, 10_000].choose(&mut random).unwrap(),
            large: random.random_bool(0.3),
        };
        let hostile = random.random_bool(0.15);
        let sources: Vec<SourceSpec> =
            ["s0", "s1", "t0"].iter().map(|name| source(name, hostile, &mut random)).collect();
        let mut script = Script { setup, sources, views: BTreeMap::new(), steps: Vec::new() };
        let mut draw = Draw { random, script: &mut script, used, alive: Vec::new(), names: 0 };
        draw.steps(views);
        script
    }

    /// The SELECT with every relation as FROM names it.
    pub(crate) fn definition(&self, view: &str) -> String {
        let mut text = self.views[view].template.clone();
        for name in &self.views[view].reads {
            text = text.replace(&format!("⟦{name}⟧"), name);
        }
        text
    }

    /// The SELECT down to the sources: no view in it.
    pub(crate) fn reference(&self, view: &str) -> String {
        let mut text = self.views[view].template.clone();
        for name in &self.views[view].reads {
            let inner =
                if self.views.contains_key(name) { format!("({})", self.reference(name)) } else { name.clone() };
            text = text.replace(&format!("⟦{name}⟧"), &inner);
        }
        text
    }

    /// Whether rows of this relation come by INSERT.
    pub(crate) fn is_table(&self, name: &str) -> bool {
        self.sources.iter().any(|spec| spec.name == name && spec.table)
    }

    /// Whether a plan may leave rows of its inputs unlooked at, so that which of them fail is open.
    pub(crate) fn is_lazy(&self, view: &str) -> bool {
        let constructs = ["INTERSECT", "EXCEPT", "LIMIT"];
        let contains = |template: &str| constructs.iter().any(|construct| template.contains(construct));
        self.views.get(view).is_some_and(|spec| spec.wide || contains(&spec.template))
    }

    /// A view and all it reads.
    pub(crate) fn ancestors(&self, view: &str) -> BTreeSet<String> {
        let mut all = BTreeSet::from([view.to_string()]);
        if let Some(spec) = self.views.get(view) {
            all.extend(spec.reads.iter().flat_map(|name| self.ancestors(name)));
        }
        all
    }

    /// The same without the views that are not among these.
    pub(crate) fn only(&self, keep: &BTreeSet<String>) -> Script {
        let mut script = self.clone();
        script.views.retain(|name, _| keep.contains(name));
        script.steps.retain(|step| match step {
            Step::Create(name) | Step::Drop(name) => keep.contains(name),
            _ => true,
        });
        script
    }
}

fn source(name: &str, hostile: bool, random: &mut StdRng) -> SourceSpec {
    let mut columns = Vec::new();
    for (place, kind) in KINDS.into_iter().chain([*KINDS.choose(random).unwrap()]).enumerate() {
        let declared = match kind {
            Kind::Numeric if random.random_bool(0.5) => "numeric(10,2)".to_string(),
            other => other.name().to_string(),
        };
        let nulls = *[0.0, 0.1, 0.5].choose(random).unwrap();
        let hot = random.random_bool(0.15);
        columns.push(ColumnSpec { name: format!("k{place}"), kind, declared, nulls, hot, hostile });
    }
    SourceSpec { name: name.to_string(), table: name.starts_with('t'), columns }
}

struct Draw<'a> {
    random: StdRng,
    script: &'a mut Script,
    used: &'a mut BTreeMap<&'static str, usize>,
    alive: Vec<String>,
    names: usize,
}

impl Draw<'_> {
    fn steps(&mut self, views: usize) {
        let mut left = views;
        if self.random.random_bool(0.5) {
            self.append();
        }
        while left > 0 {
            let group = self.random.random_range(1..=left.min(4));
            for _ in 0..group {
                self.create();
            }
            left -= group;
            if self.random.random_bool(0.3) {
                // Perhaps over inputs that are empty still.
                self.script.steps.push(Step::Compare);
            }
            for _ in 0..self.random.random_range(1..4) {
                self.append();
                self.script.steps.push(Step::Compare);
            }
            if self.random.random_bool(0.35) {
                self.append();
                let crash = self.random.random_bool(0.6);
                self.script.steps.push(Step::Restart { crash });
                if self.random.random_bool(0.5) {
                    self.append();
                }
                self.script.steps.push(Step::Compare);
            }
            if self.random.random_bool(0.3) {
                self.drop_one();
            }
        }
        self.script.steps.push(Step::Restart { crash: false });
        self.script.steps.push(Step::Compare);
    }

    fn append(&mut self) {
        for _ in 0..self.random.random_range(1..4) {
            let place = self.random.random_range(0..self.script.sources.len());
            let source = self.script.sources[place].clone();
            if source.table && self.random.random_bool(0.6) {
                self.change(&source);
                continue;
            }
            let partition = self.random.random_range(0..3);
            let most = if self.random.random_bool(0.1) { 400 } else { 20 };
            let large = source.table && self.script.setup.large;
            let count = if large { self.random.random_range(1000..1200) } else { self.random.random_range(1..most) };
            let mut records: Vec<Record> = Vec::new();
            for _ in 0..count {
                let record = match self.random.random_range(0..40) {
                    0 => Record::Gap,
                    1 => Record::Bad("broken".into()),
                    2 if !records.is_empty() => records[records.len() - 1].clone(),
                    _ => Record::Row(
                        source.columns.iter().map(|column| column.kind.draw(&mut self.random, column)).collect(),
                    ),
                };
                records.push(record);
            }
            self.script.steps.push(Step::Append(source.name, partition, records));
        }
    }

    /// UPDATE, DELETE, TRUNCATE, now and then several as a transaction.
    fn change(&mut self, table: &SourceSpec) {
        let column = |column: &ColumnSpec| Col { name: column.name.clone(), kind: column.kind, exact: true };
        let cols: Vec<Col> = table.columns.iter().map(column).collect();
        let mut writer = Writer {
            random: &mut self.random,
            relations: &[],
            names: self.names,
            used: self.used,
            joined: true,
            pending: None,
        };
        let count = if writer.random.random_bool(0.2) { 3 } else { 1 };
        let statements: Vec<String> = (0..count).map(|_| writer.change(&table.name, &cols)).collect();
        let whole = statements.join("; ");
        let text = match (count, self.random.random_range(0..4)) {
            (1, _) => whole,
            (_, 0) => format!("BEGIN; {whole}; ROLLBACK"),
            _ => format!("BEGIN; {whole}; COMMIT"),
        };
        self.script.steps.push(Step::Change(text));
    }

    fn create(&mut self) {
        let name = format!("v{}", self.script.views.len());
        let mut relations: Vec<Rel> = self
            .script
            .sources
            .iter()
            .map(|source| Rel {
                name: source.name.clone(),
                wide: false,
                cols: source
                    .columns
                    .iter()
                    .map(|column| Col { name: column.name.clone(), kind: column.kind, exact: true })
                    .collect(),
            })
            .collect();
        for view in &self.alive {
            let spec = &self.script.views[view];
            if spec.depth < MAX_DEPTH {
                relations.push(Rel { name: view.clone(), cols: spec.cols.clone(), wide: spec.wide });
            }
        }
        let mut writer = Writer {
            random: &mut self.random,
            relations: &relations,
            names: self.names,
            used: self.used,
            joined: self.script.setup.large,
            pending: None,
        };
        let (template, cols) = writer.query(2);
        self.names = writer.names;
        let joined = writer.joined;
        let reads: BTreeSet<String> = relations
            .iter()
            .filter(|relation| template.contains(&format!("⟦{}⟧", relation.name)))
            .map(|relation| relation.name.clone())
            .collect();
        let below = reads.iter().filter_map(|name| self.script.views.get(name)).map(|view| view.depth).max();
        let depth = below.unwrap_or(0) + 1;
        let wide = joined || reads.iter().any(|name| self.script.views.get(name).is_some_and(|view| view.wide));
        *self.used.entry(["", "depth 1", "depth 2", "depth 3", "depth 4"][depth]).or_insert(0) += 1;
        self.script.views.insert(name.clone(), ViewSpec { template, cols, reads, depth, wide });
        self.script.steps.push(Step::Create(name.clone()));
        self.alive.push(name);
    }

    /// Drops a view that no other reads, if there is one.
    fn drop_one(&mut self) {
        let free: Vec<usize> = (0..self.alive.len())
            .filter(|place| {
                self.alive.iter().all(|other| !self.script.views[other].reads.contains(&self.alive[*place]))
            })
            .collect();
        let Some(place) = free.choose(&mut self.random) else { return };
        let name = self.alive.remove(*place);
        self.script.steps.push(Step::Drop(name));
    }
}

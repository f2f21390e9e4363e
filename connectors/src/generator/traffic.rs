//! Who looks at what: the sessions of one block of events, mixed as they happen side by side.
//!
//! Events come in blocks of 65,536 with sessions of their own, so any event can be made again by
//! making its block. Promises: a block is a pure function of (seed, number); a session's events are
//! in order (view, cart, purchase); the shares of types, session lengths, gaps, users and the share
//! of new (brand, user) pairs follow the real data (FACTS in the tests). A session that would cross
//! the block's end goes on at its start instead, as one with a long pause.

use std::sync::LazyLock;

use super::clock;
use super::random::{Random, fraction, mix, scale};
use super::shop::{Shop, shop};

/// Events of a block.
pub(super) const BLOCK: usize = 1 << 16;

/// How many users may come at all; those of low rank come far more often.
const USERS: f64 = 5_800_000.0;
/// Longest session.
const LONGEST: u32 = 1_159;
/// Names of the event types.
pub(super) const KINDS: [&str; 3] = ["view", "cart", "purchase"];

const VIEW: u8 = 0;
const CART: u8 = 1;
const PURCHASE: u8 = 2;

/// One event; where it stands in its block says when it happens.
#[derive(Clone, Copy, Default)]
pub(super) struct Event {
    /// Place in [`Shop::products`].
    pub(super) product: u32,
    /// Place in [`Block::sessions`].
    pub(super) session: u16,
    /// Place in [`KINDS`].
    pub(super) kind: u8,
    /// Whether its session id got lost.
    pub(super) sessionless: bool,
}

/// One visit of one user.
pub(super) struct Session {
    /// `user_id`.
    pub(super) user: i64,
    /// `user_session`.
    pub(super) id: [u8; 36],
}

/// A block of events, in order of time.
pub(super) struct Block {
    /// Its events.
    pub(super) events: Vec<Event>,
    /// Its sessions.
    pub(super) sessions: Vec<Session>,
}

/// Distributions as tables, made with exact operations only.
struct Tables {
    /// Session length by 12 random bits; the last entry is drawn finer.
    lengths: Vec<u32>,
    /// Seconds to the next event by 10 random bits.
    gaps: Vec<f64>,
}

fn tables() -> &'static Tables {
    static TABLES: LazyLock<Tables> = LazyLock::new(|| Tables {
        lengths: (0..4096).map(|place| length_at((f64::from(place) + 0.5) / 4096.0)).collect(),
        gaps: (0..1024).map(|place| gap_at((f64::from(place) + 0.5) / 1024.0)).collect(),
    });
    &TABLES
}

/// The session length that a share `u` of the sessions does not pass: 39 % have one event, the
/// rest fall off with the cube.
fn length_at(u: f64) -> u32 {
    const ONE: f64 = 0.39;
    const SCALE: f64 = 10.8;
    let left = (1.0 - u) / (1.0 - ONE);
    let mut length = 1;
    while length < LONGEST {
        let ratio = SCALE / (SCALE + f64::from(length - 1));
        if u < ONE || ratio * ratio * ratio <= left {
            break;
        }
        length += 1;
    }
    length
}

/// The gap, in seconds, that a share `u` of the gaps does not pass: half 33 s, 90 % 115 s.
fn gap_at(u: f64) -> f64 {
    let root = (1.0 / (1.0 - u)).sqrt().sqrt().sqrt().sqrt();
    745.0 * (root - 1.0)
}

fn draw_length(random: &mut Random) -> usize {
    let tables = tables();
    let bits = random.next();
    let place = (bits >> 52) as usize;
    let length = match place {
        4095 => length_at((4095.0 + fraction(bits)) / 4096.0),
        _ => tables.lengths[place],
    };
    length as usize
}

/// A user by rank: `USERS * x * x` makes the rank-th user come with frequency `1 / sqrt(rank)`.
fn draw_user(random: &mut Random) -> u32 {
    let bits = random.next();
    if (bits >> 32).is_multiple_of(2000) {
        return 0; // the one hot user: 22,542 sessions in the real data
    }
    let x = fraction(bits);
    (USERS * x * x) as u32
}

/// Ranks to ids, one to one: odd factors only permute 26 bits.
fn user_id(rank: u32) -> i64 {
    500_000_000 + i64::from(rank.wrapping_mul(0x2c9_277b) & 0x3ff_ffff)
}

fn session_id(seed: u64, block: u64, place: u64) -> [u8; 36] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    // One id in 40,000 is that of the session before: the real data has such sessions, too.
    let place = if place > 0 && mix(place ^ block << 20).is_multiple_of(40_000) { place - 1 } else { place };
    let high = mix(seed ^ mix(block << 16 | place));
    let low = mix(high);
    let high = high & !0xf000 | 0x4000;
    let low = low & !(0b11 << 62) | 0b10 << 62;
    let mut id = [b'-'; 36];
    let mut at = 0;
    for nibble in 0..32 {
        if matches!(at, 8 | 13 | 18 | 23) {
            at += 1;
        }
        let word = if nibble < 16 { high } else { low };
        id[at] = HEX[(word >> (60 - 4 * (nibble % 16)) & 0xf) as usize];
        at += 1;
    }
    id
}

/// What a visitor does next.
struct Visit<'a> {
    shop: &'a Shop,
    pair: u16,
    product: u32,
    kind: u8,
}

impl<'a> Visit<'a> {
    /// Half of the sessions start where the user's interest lies: three brands of his own.
    fn begin(shop: &'a Shop, rank: u32, random: &mut Random) -> Visit<'a> {
        let bits = random.next();
        let draw = if bits >> 63 == 0 { bits } else { mix((u64::from(rank) << 2) | ((bits >> 40) % 3)) };
        let pair = shop.any_pair(draw);
        let kind = match (bits >> 48) & 0x3ff {
            0..12 => CART,
            12..18 => PURCHASE,
            _ => VIEW,
        };
        Visit { shop, pair, product: shop.product_of(pair, random.next()), kind }
    }

    fn step(&mut self, random: &mut Random) {
        let bits = random.next();
        let pull = u32::from(self.shop.pairs[usize::from(self.pair)].pull);
        let chance = scale(bits >> 32, 1 << 20);
        let (cart, buy) = match self.kind {
            VIEW => (pull * 232, pull * 25),
            CART => (chance_of(12), pull * 1500),
            _ => (0, 0),
        };
        self.kind = if chance < buy.min(800_000) {
            PURCHASE
        } else if chance < buy.min(800_000) + cart {
            CART
        } else {
            VIEW
        };
        if self.kind == VIEW {
            self.look_on(bits, random);
        }
    }

    /// A view of the same product, of the same brand, of the same category, or of anything.
    fn look_on(&mut self, bits: u64, random: &mut Random) {
        match bits as u32 % 1000 {
            0..300 => return,
            300..590 => {}
            590..855 => {
                let category = self.shop.pairs[usize::from(self.pair)].category;
                self.pair = self.shop.pair_of_category(category, random.next());
            }
            _ => self.pair = self.shop.any_pair(random.next()),
        }
        self.product = self.shop.product_of(self.pair, random.next());
    }
}

/// So many in a thousand, of 2^20.
const fn chance_of(thousandths: u32) -> u32 {
    thousandths * 1049
}

/// Events as they are drawn, session by session, with their places in the block.
struct Drawn {
    events: Vec<Event>,
    places: Vec<u16>,
}

impl Block {
    /// Makes a block.
    pub(super) fn make(seed: u64, number: u64) -> Block {
        let mut random = Random::new(seed, number);
        // Events happen at the rate of their time of day, so a gap in seconds is one in places.
        let per_second = clock::events_per_hour(number.saturating_mul(BLOCK as u64)) as f64 / 3600.0;
        let mut sessions: Vec<Session> = Vec::with_capacity(BLOCK / 4);
        let mut ranks: Vec<u32> = Vec::with_capacity(BLOCK / 4);
        let mut drawn = Drawn { events: Vec::with_capacity(BLOCK), places: Vec::with_capacity(BLOCK) };
        while drawn.events.len() < BLOCK {
            let length = draw_length(&mut random).min(BLOCK - drawn.events.len());
            let bits = random.next();
            let rank = match bits >> 40 & 0xff {
                0..28 if !ranks.is_empty() => ranks[scale(bits, ranks.len() as u32) as usize],
                _ => draw_user(&mut random),
            };
            let id = session_id(seed, number, sessions.len() as u64);
            drawn.add(sessions.len() as u16, rank, length, per_second, &mut random);
            sessions.push(Session { user: user_id(rank), id });
            ranks.push(rank);
        }
        Block { events: drawn.in_order(), sessions }
    }
}

impl Drawn {
    fn add(&mut self, session: u16, rank: u32, length: usize, per_second: f64, random: &mut Random) {
        let gaps = &tables().gaps;
        let first = self.places.len();
        let mut place = f64::from(random.next() as u16);
        for _ in 0..length {
            // As u64 first: a place past the block's end wraps to its start.
            self.places.push(place as u64 as u16);
            place += gaps[(random.next() >> 54) as usize] * per_second;
        }
        if place >= BLOCK as f64 {
            self.places[first..].sort_unstable();
        }
        let mut visit = Visit::begin(shop(), rank, random);
        for step in 0..length {
            if step > 0 {
                visit.step(random);
            }
            let sessionless = random.next().is_multiple_of(9_000_000);
            self.events.push(Event { product: visit.product, session, kind: visit.kind, sessionless });
        }
    }

    /// The events sorted by place, those of one place as they were drawn.
    fn in_order(&self) -> Vec<Event> {
        let mut next = vec![0u32; BLOCK + 1];
        for place in &self.places {
            next[usize::from(*place) + 1] += 1;
        }
        for place in 1..next.len() {
            next[place] += next[place - 1];
        }
        let mut sorted = vec![Event::default(); self.events.len()];
        for (event, place) in self.events.iter().zip(&self.places) {
            let slot = &mut next[usize::from(*place)];
            sorted[*slot as usize] = *event;
            *slot += 1;
        }
        sorted
    }
}

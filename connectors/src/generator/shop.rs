//! The shop whose visitors the generator invents: brands, categories, products, prices.
//!
//! Promises: names and frequencies are those of the real November (`catalog.txt`: all 4,201 brands,
//! all 129 categories, events of each pair of them, made to fit both by proportional fitting from a
//! sample); a product fixes its category and nearly always its brand; the shop is the same for
//! every seed. Prices are invented: a typical one a category, spread over its products.

use std::sync::LazyLock;

use super::random::{fraction, mix, scale};

/// First line: category codes. Then a line a brand (the first: no brand): its name and, per
/// category it occurs in, `category:events:products`, where category 0 is none.
const CATALOG: &str = include_str!("catalog.txt");

/// Events between two price changes of the products that have them.
const PRICE_PERIOD: u64 = 1 << 24;
/// The dearest product of the real data set, in cents.
const DEAREST: f64 = 257_407.0;

/// Typical prices: the first prefix of a category's code that is listed here.
const PRICES: &[(&str, f64)] = &[
    ("electronics.smartphone", 260.0),
    ("electronics.video", 400.0),
    ("electronics.clocks", 170.0),
    ("electronics.audio.headphone", 75.0),
    ("electronics.audio", 130.0),
    ("electronics.telephone", 26.0),
    ("electronics.tablet", 220.0),
    ("electronics.camera", 420.0),
    ("computers.notebook", 560.0),
    ("computers.desktop", 600.0),
    ("computers.components.videocards", 330.0),
    ("computers.components", 110.0),
    ("computers.peripherals.monitor", 210.0),
    ("computers", 60.0),
    ("appliances.kitchen.refrigerators", 380.0),
    ("appliances.kitchen.washer", 300.0),
    ("appliances.kitchen.dishwasher", 340.0),
    ("appliances.kitchen.oven", 230.0),
    ("appliances.kitchen.hob", 200.0),
    ("appliances.kitchen", 75.0),
    ("appliances.environment", 105.0),
    ("appliances", 45.0),
    ("furniture", 210.0),
    ("apparel", 80.0),
    ("auto", 110.0),
    ("construction", 95.0),
    ("sport", 190.0),
    ("kids", 80.0),
    ("accessories", 50.0),
    ("", 80.0),
];

/// Brands that sell above or below what is typical of their category, in hundredths.
const DEAR_BRANDS: &[(&str, u64)] = &[("apple", 260), ("samsung", 100), ("xiaomi", 72), ("huawei", 80), ("oppo", 85)];

/// A brand in a category.
pub(super) struct Pair {
    /// Place in [`Shop::brands`]; 0 is no brand.
    pub(super) brand: u16,
    /// Place in [`Shop::categories`]; 0 is no category code.
    pub(super) category: u8,
    /// How ready visitors are to buy: 256 is the mean.
    pub(super) pull: u16,
    first: u32,
    products: u32,
}

/// A product.
pub(super) struct Product {
    /// `product_id`.
    pub(super) id: u32,
    /// Place in [`Shop::pairs`].
    pub(super) pair: u16,
    /// Place in [`Shop::category_ids`].
    pub(super) category_id: u16,
    cents: u32,
    reprices: bool,
    unbranded_at_first: bool,
}

/// Pairs with their weights summed up, for drawing.
struct Draw {
    sums: Vec<u32>,
    pairs: Vec<u16>,
}

impl Draw {
    fn pick(&self, bits: u64) -> u16 {
        let total = self.sums.last().copied().unwrap_or(1);
        let place = scale(bits, total);
        self.pairs[self.sums.partition_point(|sum| *sum <= place)]
    }
}

/// Everything that is for sale.
pub(super) struct Shop {
    /// Brand names; the first is empty: no brand.
    pub(super) brands: Vec<&'static str>,
    /// Category codes; the first is empty: none.
    pub(super) categories: Vec<&'static str>,
    /// `category_id`s.
    pub(super) category_ids: Vec<i64>,
    /// Brands in categories.
    pub(super) pairs: Vec<Pair>,
    /// Products, those of one pair side by side.
    pub(super) products: Vec<Product>,
    all: Draw,
    by_category: Vec<Draw>,
}

/// The shop.
pub(super) fn shop() -> &'static Shop {
    static SHOP: LazyLock<Shop> = LazyLock::new(Shop::open);
    &SHOP
}

impl Shop {
    fn open() -> Shop {
        let mut lines = CATALOG.lines();
        let mut categories = vec![""];
        categories.extend(lines.next().unwrap_or_default().split(' '));
        let mut shop = Shop {
            brands: Vec::new(),
            category_ids: (0..660).map(|slot| 2_053_013_552_259_662_037 + slot * 180_000_000_000_007).collect(),
            pairs: Vec::new(),
            products: Vec::new(),
            all: Draw { sums: Vec::new(), pairs: Vec::new() },
            by_category: categories.iter().map(|_| Draw { sums: Vec::new(), pairs: Vec::new() }).collect(),
            categories,
        };
        let mut in_category = vec![0; shop.categories.len()];
        for line in lines {
            let mut words = line.split(' ');
            let brand = shop.brands.len() as u16;
            shop.brands.push(words.next().unwrap_or_default());
            for word in words {
                let mut numbers = word.split(':').map(|number| number.parse::<u32>().unwrap_or(0));
                let mut next = || numbers.next().unwrap_or(0);
                let (category, events, products) = (next() as u8, next(), next());
                shop.add_pair(brand, category, events, products, &mut in_category);
            }
        }
        shop
    }

    fn add_pair(&mut self, brand: u16, category: u8, events: u32, products: u32, in_category: &mut [u32]) {
        let place = self.pairs.len() as u16;
        for draw in [&mut self.all, &mut self.by_category[usize::from(category)]] {
            draw.sums.push(draw.sums.last().copied().unwrap_or(0) + events);
            draw.pairs.push(place);
        }
        let code = self.categories[usize::from(category)];
        let hash = mix(u64::from(brand) << 8 | u64::from(category));
        let eager = if code == "electronics.smartphone" { 380 } else { 150 };
        let pull = (eager * (60 + scale(hash, 81)) / 100) as u16;
        let first = self.products.len() as u32;
        self.pairs.push(Pair { brand, category, pull, first, products });
        let typical = typical_price(code, self.brands[usize::from(brand)], hash);
        for product in 0..products {
            let hash = mix(hash ^ u64::from(product) << 32);
            let slot = in_category[usize::from(category)];
            in_category[usize::from(category)] += 1;
            self.products.push(Product {
                id: 1_000_000 + u32::from(category) * 400_000 + slot * 3 + (hash % 3) as u32,
                pair: place,
                category_id: category_slot(brand, category, product),
                cents: spread_price(typical, hash),
                reprices: hash >> 32 & 0xff < 102,
                unbranded_at_first: (hash >> 40) % 1500 == 7,
            });
        }
    }

    /// A pair by its frequency.
    #[inline]
    pub(super) fn any_pair(&self, bits: u64) -> u16 {
        self.all.pick(bits)
    }

    /// A pair of one category by its frequency.
    #[inline]
    pub(super) fn pair_of_category(&self, category: u8, bits: u64) -> u16 {
        self.by_category[usize::from(category)].pick(bits)
    }

    /// A product of a pair, the first ones far more often.
    #[inline]
    pub(super) fn product_of(&self, pair: u16, bits: u64) -> u32 {
        let pair = &self.pairs[usize::from(pair)];
        let x = fraction(bits);
        pair.first + (x * x * x * x * f64::from(pair.products)) as u32
    }

    /// The price of a product at event n, in cents.
    #[inline]
    pub(super) fn price(&self, product: u32, n: u64) -> u32 {
        let entry = &self.products[product as usize];
        if !entry.reprices {
            return entry.cents;
        }
        let percent = 88 + scale(mix(u64::from(product) ^ (n / PRICE_PERIOD) << 32), 25);
        (u64::from(entry.cents) * u64::from(percent) / 100).min(DEAREST as u64) as u32
    }

    /// The place of a product's brand at event n; 0 is none.
    #[inline]
    pub(super) fn brand(&self, product: &Product, n: u64) -> u16 {
        if product.unbranded_at_first && n < PRICE_PERIOD { 0 } else { self.pairs[usize::from(product.pair)].brand }
    }
}

/// The typical price of a brand in a category, in cents.
fn typical_price(code: &str, brand: &str, hash: u64) -> f64 {
    let price = PRICES.iter().find(|(prefix, _)| code.starts_with(prefix)).map_or(80.0, |(_, price)| *price);
    let known = DEAR_BRANDS.iter().find(|(name, _)| *name == brand);
    let hundredths = known.map_or_else(|| u64::from(60 + scale(hash >> 16, 90)), |(_, hundredths)| *hundredths);
    price * hundredths as f64
}

/// The price of one product: skewed to the dear side, and a few cost nothing, as in the real data.
fn spread_price(typical: f64, hash: u64) -> u32 {
    if (hash >> 24) % 400 == 1 {
        return 0;
    }
    let x = fraction(hash);
    let factor = 0.3 + 1.0 * x + 3.6 * x * x * x * x * x;
    (typical * factor).min(DEAREST) as u32
}

/// Each category code has two ids, a brand uses one of them; products without a code share 404.
fn category_slot(brand: u16, category: u8, product: u32) -> u16 {
    let hash = mix(u64::from(brand));
    match category {
        0 => 256 + (mix(hash ^ u64::from(product / 8)) % 404) as u16,
        named => (u16::from(named) - 1) * 2 + (hash & 1) as u16,
    }
}

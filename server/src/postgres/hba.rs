//! Who may connect, from where and how: rules in the form of PostgreSQL's pg_hba.conf.
//!
//! Promises: the first rule that fits decides; what is not understood refuses the whole file with its
//! line, so that no rule is ever passed over. Known are local (never met: there is no such socket),
//! host, hostssl, hostnossl; trust, reject, scram-sha-256 (md5 is read as it). All database names lead
//! to the one database, so that rules are asked about that one. Authenticates nobody.

use std::net::IpAddr;

/// How a rule decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    /// Let in.
    Trust,
    /// Refuse.
    Reject,
    /// By password.
    Scram,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Local,
    Any,
    Tls,
    Clear,
}

#[derive(Debug, PartialEq, Eq)]
enum Address {
    All,
    Net(IpAddr, u8),
}

/// A word of a rule; in quotes it has no special meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Word {
    text: String,
    quoted: bool,
}

/// One rule.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    /// Its line in the file, from 1.
    pub(crate) line: usize,
    transport: Transport,
    databases: Vec<Word>,
    users: Vec<Word>,
    address: Address,
    /// What it says.
    pub(crate) method: Method,
}

/// Who wants in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Visitor<'a> {
    /// From where.
    pub(crate) address: IpAddr,
    /// Whether through TLS.
    pub(crate) tls: bool,
    /// As whom.
    pub(crate) user: &'a str,
    /// To which database.
    pub(crate) database: &'a str,
}

/// All rules, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Rules(Vec<Rule>);

impl Rules {
    /// What holds without a file. `trusting`: no role has a password, and only this machine gets here.
    pub(crate) fn standard(trusting: bool) -> Rules {
        let rule = |address, method| Rule {
            line: 0,
            transport: Transport::Any,
            databases: vec![Word { text: "all".into(), quoted: false }],
            users: vec![Word { text: "all".into(), quoted: false }],
            address,
            method,
        };
        let loopback = [IpAddr::from([127, 0, 0, 0]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])];
        let trusted = loopback.into_iter().zip([8, 128]).filter(|_| trusting);
        let trusted = trusted.map(|(net, bits)| rule(Address::Net(net, bits), Method::Trust));
        Rules(trusted.chain([rule(Address::All, Method::Scram)]).collect())
    }

    /// Reads a file's text. The error names the line.
    pub(crate) fn parse(text: &str) -> Result<Rules, String> {
        let mut rules = Vec::new();
        let mut lines = (1..).zip(text.lines());
        while let Some((number, line)) = lines.next() {
            let mut whole = line.to_string();
            while whole.ends_with('\\') {
                whole.pop();
                let Some((_, more)) = lines.next() else { break };
                whole.push_str(more);
            }
            let fields = fields(&whole).map_err(|error| format!("line {number}: {error}"))?;
            if !fields.is_empty() {
                rules.push(rule(number, fields).map_err(|error| format!("line {number}: {error}"))?);
            }
        }
        Ok(Rules(rules))
    }

    /// The rule that decides; `member` says whether a user is a member of a role.
    pub(crate) fn find(&self, visitor: &Visitor<'_>, member: impl Fn(&str, &str) -> bool) -> Option<&Rule> {
        self.0.iter().find(|rule| rule.fits(visitor, &member))
    }

    /// The lines of rules that trust more than this machine.
    pub(crate) fn trusting_lines(&self) -> Vec<usize> {
        let wide = |rule: &&Rule| match rule.address {
            Address::All => true,
            Address::Net(net, bits) => !net.is_loopback() || bits < 8 || (net.is_ipv6() && bits < 128),
        };
        let trusting = self.0.iter().filter(|rule| rule.method == Method::Trust && rule.transport != Transport::Local);
        trusting.filter(wide).map(|rule| rule.line).collect()
    }
}

impl Rule {
    fn fits(&self, visitor: &Visitor<'_>, member: &impl Fn(&str, &str) -> bool) -> bool {
        let transport = match self.transport {
            Transport::Local => false,
            Transport::Any => true,
            Transport::Tls => visitor.tls,
            Transport::Clear => !visitor.tls,
        };
        let address = match self.address {
            Address::All => true,
            Address::Net(net, bits) => same_net(visitor.address.to_canonical(), net, bits),
        };
        let database = |word: &Word| match word.text.as_str() {
            "all" if !word.quoted => true,
            "sameuser" if !word.quoted => visitor.user == visitor.database,
            "samerole" | "samegroup" if !word.quoted => member(visitor.user, visitor.database),
            "replication" if !word.quoted => false,
            name => name == visitor.database,
        };
        let user = |word: &Word| match word.text.strip_prefix('+') {
            Some(role) if !word.quoted => member(visitor.user, role),
            _ => (word.text == "all" && !word.quoted) || word.text == visitor.user,
        };
        transport && address && self.databases.iter().any(database) && self.users.iter().any(user)
    }
}

fn same_net(address: IpAddr, net: IpAddr, bits: u8) -> bool {
    fn same(address: &[u8], net: &[u8], bits: u8) -> bool {
        let (whole, rest) = (usize::from(bits / 8), bits % 8);
        let mask = !(0xff_u8.checked_shr(u32::from(rest)).unwrap_or(0));
        address[..whole] == net[..whole]
            && (rest == 0 || address.get(whole).map(|byte| byte & mask) == net.get(whole).map(|byte| byte & mask))
    }
    match (address, net) {
        (IpAddr::V4(address), IpAddr::V4(net)) => same(&address.octets(), &net.octets(), bits),
        (IpAddr::V6(address), IpAddr::V6(net)) => same(&address.octets(), &net.octets(), bits),
        _ => false,
    }
}

/// The fields of a line, each a list of words; none for an empty line or a comment.
fn fields(line: &str) -> Result<Vec<Vec<Word>>, String> {
    let mut fields: Vec<Vec<Word>> = Vec::new();
    let mut characters = line.chars().peekable();
    let mut joins = false;
    loop {
        while characters.next_if(|c| c.is_whitespace() || *c == ',').is_some_and(|c| {
            joins |= c == ',';
            true
        }) {}
        match characters.peek() {
            None | Some('#') => return Ok(fields),
            Some(_) => {}
        }
        let (mut text, mut quoted, mut inside) = (String::new(), false, false);
        while let Some(c) = characters.next_if(|c| inside || !(c.is_whitespace() || ",#".contains(*c))) {
            match c {
                '"' => {
                    inside = !inside;
                    quoted = true;
                }
                c => text.push(c),
            }
        }
        if inside {
            return Err("a quotation mark is not closed".into());
        }
        if !quoted && text.starts_with('@') {
            return Err(format!("\"{text}\": reading another file is not supported"));
        }
        let word = Word { text, quoted };
        match fields.last_mut() {
            Some(field) if joins => field.push(word),
            _ => fields.push(vec![word]),
        }
        joins = false;
    }
}

fn rule(line: usize, fields: Vec<Vec<Word>>) -> Result<Rule, String> {
    let mut fields = fields.into_iter();
    let mut next = |what: &str| fields.next().ok_or_else(|| format!("end-of-line before {what} specification"));
    let transport = match single(next("connection type")?)?.text.as_str() {
        "local" => Transport::Local,
        "host" => Transport::Any,
        "hostssl" => Transport::Tls,
        "hostnossl" => Transport::Clear,
        other => return Err(format!("invalid connection type \"{other}\"")),
    };
    let databases = next("database")?;
    let users = next("role")?;
    if let Some(word) = databases.iter().chain(&users).find(|word| !word.quoted && word.text.starts_with('/')) {
        return Err(format!("\"{}\": a regular expression is not supported", word.text));
    }
    let address = match transport {
        Transport::Local => Address::All,
        _ => match address(&single(next("IP address")?)?)? {
            (address, Some(bits)) => Address::Net(address.ok_or("an address is missing")?, bits),
            (Some(address), None) => {
                let mask = single(next("netmask")?)?.text;
                Address::Net(address, prefix(address, &mask).ok_or_else(|| format!("invalid IP mask \"{mask}\""))?)
            }
            (None, None) => Address::All,
        },
    };
    let method = match single(next("authentication method")?)?.text.as_str() {
        "trust" => Method::Trust,
        "reject" => Method::Reject,
        "scram-sha-256" | "md5" => Method::Scram,
        other => return Err(format!("authentication method \"{other}\" is not supported")),
    };
    if let Some(option) = fields.next().and_then(|field| field.into_iter().next()) {
        return Err(format!("authentication option \"{}\" is not supported", option.text));
    }
    Ok(Rule { line, transport, databases, users, address, method })
}

fn single(words: Vec<Word>) -> Result<Word, String> {
    match <[Word; 1]>::try_from(words) {
        Ok([word]) => Ok(word),
        Err(_) => Err("multiple values where one is wanted".into()),
    }
}

/// An address with the bits of its net; without them where a mask follows, without both for all.
fn address(word: &Word) -> Result<(Option<IpAddr>, Option<u8>), String> {
    let text = word.text.as_str();
    if text == "all" && !word.quoted {
        return Ok((None, None));
    }
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let Ok(address) = address.parse::<IpAddr>() else {
        return Err(format!("\"{text}\" is not an IP address (host names are not supported)"));
    };
    let most = if address.is_ipv4() { 32 } else { 128 };
    match bits.map(str::parse::<u8>) {
        None => Ok((Some(address), None)),
        Some(Ok(bits)) if bits <= most => Ok((Some(address), Some(bits))),
        Some(_) => Err(format!("invalid CIDR mask in address \"{text}\"")),
    }
}

/// The bits of a mask written as an address.
fn prefix(address: IpAddr, mask: &str) -> Option<u8> {
    let (ones, whole) = match (address, mask.parse().ok()?) {
        (IpAddr::V4(_), IpAddr::V4(mask)) => (mask.to_bits().leading_ones(), mask.to_bits().count_ones()),
        (IpAddr::V6(_), IpAddr::V6(mask)) => (mask.to_bits().leading_ones(), mask.to_bits().count_ones()),
        _ => return None,
    };
    (ones == whole).then(|| u8::try_from(ones).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "
# TYPE  DATABASE  USER  ADDRESS  METHOD
local   all       all            trust
hostssl all       ann,\"all\"  10.1.0.0/16   scram-sha-256
host    thalweg   +readers  192.168.1.0 255.255.255.0  md5   # behind
hostnossl all, x  all  ::1/128  trust
host    sameuser  all  all  \\
        reject
";

    fn line(address: &str, tls: bool, user: &str) -> Option<(usize, Method)> {
        let rules = Rules::parse(FILE).unwrap();
        let visitor = Visitor { address: address.parse().unwrap(), tls, user, database: "thalweg" };
        let member = |user: &str, role: &str| (user, role) == ("bob", "readers");
        rules.find(&visitor, member).map(|rule| (rule.line, rule.method))
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        assert_eq!(line("10.1.2.3", true, "ann"), Some((4, Method::Scram)));
        assert_eq!(line("::ffff:10.1.2.3", true, "ann"), Some((4, Method::Scram)));
        assert_eq!(line("10.1.2.3", false, "ann"), None);
        assert_eq!(line("10.2.2.3", true, "ann"), None);
        // In quotes it is a name.
        assert_eq!(line("10.1.2.3", true, "carl"), None);
        assert_eq!(line("10.1.2.3", true, "all"), Some((4, Method::Scram)));
        assert_eq!(line("192.168.1.9", false, "bob"), Some((5, Method::Scram)));
        assert_eq!(line("192.168.2.9", false, "bob"), None);
        assert_eq!(line("192.168.1.9", false, "carl"), None);
        assert_eq!(line("::1", false, "carl"), Some((6, Method::Trust)));
        assert_eq!(line("::1", true, "carl"), None);
        assert_eq!(line("1.1.1.1", false, "thalweg"), Some((7, Method::Reject)));
    }

    #[test]
    fn what_is_not_understood_refuses_the_file() {
        for (text, error) in [
            ("host all all 1.2.3.4/32 ldap", "line 1: authentication method \"ldap\" is not supported"),
            ("\nhost all all 1.2.3.4/33 trust", "line 2: invalid CIDR mask in address \"1.2.3.4/33\""),
            (
                "host all all example.com trust",
                "line 1: \"example.com\" is not an IP address (host names are not supported)",
            ),
            ("host all all", "line 1: end-of-line before IP address specification"),
            ("hosts all all all trust", "line 1: invalid connection type \"hosts\""),
            ("host all \"x all trust", "line 1: a quotation mark is not closed"),
            ("host @x all all trust", "line 1: \"@x\": reading another file is not supported"),
            ("host all /x all trust", "line 1: \"/x\": a regular expression is not supported"),
            ("host all all 1.2.3.4 255.0.255.0 trust", "line 1: invalid IP mask \"255.0.255.0\""),
            ("host all all all trust clientcert=1", "line 1: authentication option \"clientcert=1\" is not supported"),
            ("host all all all,all trust", "line 1: multiple values where one is wanted"),
        ] {
            assert_eq!(Rules::parse(text).unwrap_err(), error);
        }
    }

    #[test]
    fn without_a_file_this_machine_is_trusted_until_there_is_a_password() {
        let method = |trusting: bool, address: &str| {
            let visitor = Visitor { address: address.parse().unwrap(), tls: false, user: "x", database: "thalweg" };
            Rules::standard(trusting).find(&visitor, |_, _| false).map(|rule| rule.method)
        };
        assert_eq!(method(true, "127.0.0.1"), Some(Method::Trust));
        assert_eq!(method(true, "127.9.0.1"), Some(Method::Trust));
        assert_eq!(method(true, "::1"), Some(Method::Trust));
        assert_eq!(method(true, "10.0.0.1"), Some(Method::Scram));
        assert_eq!(method(false, "127.0.0.1"), Some(Method::Scram));
    }

    #[test]
    fn rules_that_trust_others_are_named() {
        let rules = Rules::parse("host all all 127.0.0.1/32 trust\nhost all all all trust\nhost all all 10.0.0.0/8 trust\nhost all all ::1/128 trust\nlocal all all trust").unwrap();
        assert_eq!(rules.trusting_lines(), [2, 3]);
        assert!(Rules::standard(true).trusting_lines().is_empty());
    }
}

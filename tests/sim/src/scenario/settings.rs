//! The settings of a node in words: what differs from the default configuration, under the names that it has there.

use std::time::Duration;

use egtp::{Config, Limits, Rate, Throttle, Timers};

use super::words::{DURATION, duration, duration_in_words};

/// Every setting that differs from the default one, each with a space before it.
pub(super) fn in_words(config: &Config) -> String {
    let (mut config, mut usual) = (config.clone(), Config::default());
    let mut words = Vec::new();
    for ((name, value), (_, usual)) in limits(&mut config.limits).into_iter().zip(limits(&mut usual.limits)) {
        if value != usual {
            words.push(format!(" {name}={value}"));
        }
    }
    if config.limits.handshakes_per_second != usual.limits.handshakes_per_second {
        words.push(format!(" handshakes_per_second={}", config.limits.handshakes_per_second));
    }
    for ((name, value), (_, usual)) in timers(&mut config.timers).into_iter().zip(timers(&mut usual.timers)) {
        if value != usual {
            words.push(format!(" {name}={}", duration_in_words(*value)));
        }
    }
    for (name, rate) in rates(&mut config.throttle) {
        words.extend(rate.map(|rate| format!(" {name}={}", rate.as_bytes_per_second())));
    }
    words.concat()
}

/// Changes one setting, or says what would do instead.
pub(super) fn set(config: &mut Config, name: &str, value: &str) -> Result<(), String> {
    let before = config.clone();
    let read = read(config, name, value);
    let checked = read.and_then(|()| config.clone().check().map(|_| ()).map_err(|error| format!("{error}")));
    if checked.is_err() {
        *config = before;
    }
    checked
}

fn read(config: &mut Config, name: &str, value: &str) -> Result<(), String> {
    let number = || format!("{name}= and a whole number");
    if let Some((_, limit)) = limits(&mut config.limits).into_iter().find(|&(known, _)| known == name) {
        *limit = value.parse().map_err(|_| number())?;
        return Ok(());
    }
    if name == "handshakes_per_second" {
        config.limits.handshakes_per_second = value.parse().map_err(|_| number())?;
        return Ok(());
    }
    if let Some((_, timer)) = timers(&mut config.timers).into_iter().find(|&(known, _)| known == name) {
        *timer = duration(value).ok_or_else(|| format!("{name}= and {DURATION}"))?;
        return Ok(());
    }
    if let Some((_, rate)) = rates(&mut config.throttle).into_iter().find(|&(known, _)| known == name) {
        let read = value.parse().ok().and_then(Rate::bytes_per_second);
        *rate = Some(read.ok_or_else(|| format!("{name}= and at least 256 bytes a second"))?);
        return Ok(());
    }
    Err(format!("one of these settings, with a value: {}", names().join(", ")))
}

fn names() -> Vec<&'static str> {
    let Config { mut limits, mut timers, mut throttle } = Config::default();
    let mut names: Vec<&'static str> = self::limits(&mut limits).map(|(name, _)| name).to_vec();
    names.push("handshakes_per_second");
    names.extend(self::timers(&mut timers).map(|(name, _)| name));
    names.extend(rates(&mut throttle).map(|(name, _)| name));
    names
}

fn limits(limits: &mut Limits) -> [(&'static str, &mut usize); 18] {
    [
        ("connections", &mut limits.connections),
        ("maintained_connections", &mut limits.maintained_connections),
        ("unauthenticated_connections", &mut limits.unauthenticated_connections),
        ("peers", &mut limits.peers),
        ("sessions", &mut limits.sessions),
        ("tentative_sessions", &mut limits.tentative_sessions),
        ("queries", &mut limits.queries),
        ("query_bytes", &mut limits.query_bytes),
        ("incoming", &mut limits.incoming),
        ("incoming_per_peer", &mut limits.incoming_per_peer),
        ("assembly_bytes", &mut limits.assembly_bytes),
        ("assembly_bytes_per_peer", &mut limits.assembly_bytes_per_peer),
        ("reply_bytes", &mut limits.reply_bytes),
        ("reply_bytes_per_peer", &mut limits.reply_bytes_per_peer),
        ("undelivered_bytes", &mut limits.undelivered_bytes),
        ("stored_records", &mut limits.stored_records),
        ("served_types", &mut limits.served_types),
        ("lookups", &mut limits.lookups),
    ]
}

fn timers(timers: &mut Timers) -> [(&'static str, &mut Duration); 6] {
    [
        ("connect", &mut timers.connect),
        ("authenticate", &mut timers.authenticate),
        ("idle", &mut timers.idle),
        ("lookup", &mut timers.lookup),
        ("discovery", &mut timers.discovery),
        ("session", &mut timers.session),
    ]
}

fn rates(throttle: &mut Throttle) -> [(&'static str, &mut Option<Rate>); 4] {
    [
        ("up", &mut throttle.up),
        ("down", &mut throttle.down),
        ("up_per_connection", &mut throttle.up_per_connection),
        ("down_per_connection", &mut throttle.down_per_connection),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_read_as_it_is_written() {
        for name in names() {
            let mut config = Config::default();
            let values = ["77", "1.5s", "4096"];
            assert!(values.iter().any(|value| set(&mut config, name, value).is_ok()), "{name}");
            let words = in_words(&config);
            let (written, value) = words.trim_start().split_once('=').unwrap();
            assert_eq!(written, name);
            let mut again = Config::default();
            set(&mut again, written, value).unwrap();
            assert_eq!(again, config, "{name}");
        }
    }

    #[test]
    fn what_is_out_of_range_changes_nothing_and_says_what_would_do() {
        let mut config = Config::default();
        assert_eq!(set(&mut config, "connections", "0"), Err("limits.connections is too small to work with".into()));
        assert_eq!(set(&mut config, "up", "7"), Err("up= and at least 256 bytes a second".into()));
        assert!(set(&mut config, "colour", "red").unwrap_err().contains("connections, "));
        assert_eq!(config, Config::default());
    }
}

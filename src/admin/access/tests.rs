//! Tests of who may do what.

use axum::http::HeaderValue;

use super::*;
use crate::admin::access::password::PasswordHash;

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap()))
        .collect()
}

fn role(access: &Access, pairs: &[(&'static str, &str)]) -> Option<Role> {
    access.actor(&headers(pairs), "10.0.0.1:1").map(|actor| actor.role)
}

fn user() -> User {
    // Of a password that nobody knows any more.
    let text = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$Zm9vYmFyYmF6cXV4";
    let password = PasswordHash::parse(text).unwrap();
    User { name: "ann".into(), password, role: Role::Operate }
}

#[test]
fn without_logins_nsqadmins_rule_holds() {
    let open = Access::new(&AdminOptions::default());
    assert_eq!(role(&open, &[]), Some(Role::Operate));
    let options = AdminOptions { admin_users: vec!["ann".into()], ..AdminOptions::default() };
    let listed = Access::new(&options);
    assert_eq!(role(&listed, &[]), Some(Role::View));
    assert_eq!(role(&listed, &[("x-forwarded-user", "bob")]), Some(Role::View));
    assert_eq!(role(&listed, &[("x-forwarded-user", "ann")]), Some(Role::Operate));
    let proxies = vec![Network::parse("192.168.0.0/16").unwrap()];
    let strict = Access::new(&AdminOptions { trusted_proxies: proxies, ..options });
    assert_eq!(role(&strict, &[("x-forwarded-user", "ann")]), Some(Role::View), "not a proxy");
}

#[test]
fn with_logins_nobody_is_known_before_one() {
    let options = AdminOptions {
        users: vec![user()],
        admin_users: vec!["ann".into()],
        ..AdminOptions::default()
    };
    let access = Access::new(&options);
    assert_eq!(role(&access, &[("x-forwarded-user", "ann")]), None, "anybody can write a header");
    let (id, opened) = access.sessions.open("ann", Role::View).unwrap();
    let with_cookie = headers(&[("cookie", &format!("other=1; leveret-session={id}"))]);
    let actor = access.actor(&with_cookie, "10.0.0.1:1").unwrap();
    assert_eq!((actor.role, actor.token), (Role::View, Some(opened.token)));
    let proxies = vec![Network::parse("10.0.0.0/8").unwrap()];
    let behind = Access::new(&AdminOptions { trusted_proxies: proxies, ..options });
    assert_eq!(role(&behind, &[("x-forwarded-user", "ann")]), Some(Role::Operate));
    assert_eq!(role(&behind, &[]), None);
}

#[test]
fn changes_come_from_our_own_pages_or_from_none() {
    let access = Access::new(&AdminOptions::default());
    let anybody = Actor { name: None, role: Role::Operate, token: None };
    let may = |actor: &Actor, pairs: &[(&'static str, &str)]| {
        access.may_operate(Some(actor), &headers(pairs)).map_err(|refusal| refusal.text)
    };
    assert_eq!(may(&anybody, &[]), Ok(()));
    assert_eq!(may(&anybody, &[("origin", "https://a.example"), ("host", "a.example")]), Ok(()));
    let proxied =
        [("origin", "https://a.example"), ("host", "b:1"), ("x-forwarded-host", "a.example")];
    assert_eq!(may(&anybody, &proxied), Ok(()));
    let foreign = [("origin", "https://evil.example"), ("host", "a.example")];
    assert_eq!(may(&anybody, &foreign), Err("FOREIGN_ORIGIN".into()));
    assert_eq!(may(&anybody, &[("sec-fetch-site", "cross-site")]), Err("FOREIGN_ORIGIN".into()));
    let ann = Actor { token: Some("secret".into()), ..anybody };
    assert_eq!(may(&ann, &[]), Err("INVALID_CSRF_TOKEN".into()));
    assert_eq!(may(&ann, &[("x-csrf-token", "guess")]), Err("INVALID_CSRF_TOKEN".into()));
    assert_eq!(may(&ann, &[("x-csrf-token", "secret")]), Ok(()));
    let viewer = Actor { role: Role::View, ..ann };
    assert_eq!(may(&viewer, &[("x-csrf-token", "secret")]), Err("FORBIDDEN".into()));
    let nobody = access.may_operate(None, &headers(&[])).unwrap_err();
    assert_eq!((nobody.status, &*nobody.text), (StatusCode::UNAUTHORIZED, "LOGIN_REQUIRED"));
}

//! Values in data are held to the same limits as everywhere.

#![cfg(feature = "serde")]

use tcpalive_keepalive::Params;

#[test]
fn params_come_back_from_json() {
    let params: Params = "10/20/5/30s".parse().unwrap();
    let json = serde_json::to_string(&params).unwrap();
    assert_eq!(
        json,
        r#"{"idle_s":10,"interval_s":20,"count":5,"user_timeout_ms":30000}"#
    );
    assert_eq!(serde_json::from_str::<Params>(&json).unwrap(), params);
}

#[test]
fn what_linux_refuses_is_refused() {
    let wrong = |json| {
        serde_json::from_str::<Params>(json)
            .unwrap_err()
            .to_string()
    };
    let error = wrong(r#"{"idle_s":0,"interval_s":20,"count":5}"#);
    assert!(error.contains("idle time must be 1 to 32767"), "{error}");
    let error = wrong(r#"{"idle_s":1,"interval_s":1,"count":1,"user_timeout_ms":4294967295}"#);
    assert!(error.contains("user timeout"), "{error}");
    let error = wrong(r#"{"idle":1,"interval_s":1,"count":1}"#);
    assert!(error.contains("unknown field"), "{error}");
}

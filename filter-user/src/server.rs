//! The HTTP server for metrics.

use std::io;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use log::warn;
use tokio::{net::TcpListener, sync::watch};

use crate::metrics::{Metrics, TEXT_FORMAT};

const LANDING_PAGE: &str = "<!doctype html><html lang=en><meta charset=utf-8><title>lastack</title>\
    <h1>lastack</h1><p><a href=/metrics>Metrics</a>, <a href=/healthz>health</a>, \
    <a href=/readyz>readiness</a></html>\n";

/// Serves until the sender of `stopped` goes away.
pub async fn serve(
    listener: TcpListener,
    metrics: Metrics,
    mut stopped: watch::Receiver<()>,
) -> io::Result<()> {
    let router = Router::new()
        .route("/", get(async || Html(LANDING_PAGE)))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(scrape))
        .with_state(metrics);
    tokio::select! {
        done = axum::serve(listener, router) => done,
        _ = stopped.changed() => Ok(()),
    }
}

async fn scrape(State(metrics): State<Metrics>) -> Response {
    match metrics.text() {
        Ok(text) => ([(CONTENT_TYPE, TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            warn!("metrics: {error:#}");
            (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}\n")).into_response()
        }
    }
}

/// Health is for those who restart what is not healthy, which mends no interface; readiness is
/// whether all of them are served.
async fn ready(State(metrics): State<Metrics>) -> Response {
    let unserved = metrics.unserved();
    if unserved.is_empty() {
        return "ok\n".into_response();
    }
    let lines = unserved.into_iter().map(|(interface, trouble)| {
        let trouble = trouble.as_deref().unwrap_or("there is no such interface");
        format!("{interface}: not served: {trouble}\n")
    });
    let lines: String = lines.collect();
    (StatusCode::SERVICE_UNAVAILABLE, lines).into_response()
}

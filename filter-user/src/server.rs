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
    <h1>lastack</h1><p><a href=/metrics>Metrics</a>, <a href=/healthz>health</a></html>\n";

/// Serves until the sender of `stopped` goes away.
pub async fn serve(
    listener: TcpListener,
    metrics: Metrics,
    mut stopped: watch::Receiver<()>,
) -> io::Result<()> {
    let router = Router::new()
        .route("/", get(async || Html(LANDING_PAGE)))
        .route("/healthz", get(async || "ok\n"))
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

//! A real browser that notices every mistake of a page.

use headless_chrome::browser::tab::Tab;
use headless_chrome::protocol::cdp::types::Event;
use headless_chrome::protocol::cdp::{Emulation, Network};
use headless_chrome::{Browser, LaunchOptions};
use serde_json::Value;
use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long a page may take to become what it should.
const PATIENCE: Duration = Duration::from_secs(90);

/// A page in a browser of its own.
pub(crate) struct Page {
    tab: Arc<Tab>,
    wrong: Arc<Mutex<Vec<String>>>,
    _browser: Browser,
}

fn chromium() -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome"];
    std::env::split_paths(&folders)
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .find(|path| path.is_file())
}

impl Page {
    /// Opens an address; `None`, said loudly, where there is no browser.
    pub(crate) fn open(url: &str) -> Option<Self> {
        let Some(path) = chromium() else {
            eprintln!("SKIPPED: no chromium, chromium-browser or google-chrome is installed");
            return None;
        };
        let options = LaunchOptions {
            path: Some(path),
            // The sandbox refuses to work for root.
            sandbox: std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() != 0),
            window_size: Some((1280, 900)),
            idle_browser_timeout: Duration::from_secs(300),
            args: vec![OsStr::new("--disable-dev-shm-usage")],
            ..LaunchOptions::default()
        };
        let browser = Browser::new(options).expect("a browser");
        let tab = browser.new_tab().expect("a tab");
        tab.set_default_timeout(PATIENCE);
        let wrong = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&wrong);
        let note = move |event: &Event| {
            if let Some(text) = mistake(event) {
                notes.lock().expect("whole").push(text);
            }
        };
        tab.add_event_listener(Arc::new(note)).expect("listening");
        tab.enable_log().expect("a log");
        tab.enable_runtime().expect("a console");
        tab.call_method(Network::Enable {
            max_total_buffer_size: None,
            max_resource_buffer_size: None,
            max_post_data_size: None,
            report_direct_socket_traffic: None,
            enable_durable_messages: None,
        })
        .expect("a network");
        // Without it no page of a browser without a screen has the focus.
        tab.call_method(Emulation::SetFocusEmulationEnabled { enabled: true })
            .expect("set");
        tab.navigate_to(url).expect("opened");
        Some(Self {
            tab,
            wrong,
            _browser: browser,
        })
    }

    /// Evaluates an expression.
    pub(crate) fn value(&self, expression: &str) -> Value {
        let script = format!("JSON.stringify({expression})");
        let result = self.tab.evaluate(&script, false);
        let result = result.unwrap_or_else(|error| panic!("{expression}: {error}"));
        match result.value {
            Some(Value::String(text)) => serde_json::from_str(&text).expect("JSON"),
            _ => Value::Null,
        }
    }

    /// Waits until an expression holds.
    pub(crate) fn until(&self, expression: &str) {
        let started = Instant::now();
        loop {
            let holds = self.value(&format!("!!({expression})"));
            if holds == true {
                return;
            }
            if started.elapsed() > PATIENCE {
                let text = self.value("document.body.innerText");
                panic!(
                    "never held: {expression}\nmistakes: {:?}\npage: {text}",
                    self.mistakes()
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Does something, as in `click()`, with the first element that a selector finds.
    pub(crate) fn with(&self, selector: &str, action: &str) {
        self.until(&format!("document.querySelector({selector:?})"));
        let script = format!("(document.querySelector({selector:?}).{action}, 1)");
        self.value(&script);
    }

    pub(crate) fn click(&self, selector: &str) {
        self.with(selector, "click()");
    }

    /// Clicks the first link or button with this text.
    pub(crate) fn press(&self, text: &str) {
        let find = format!(
            "[...document.querySelectorAll('main a, main button, main summary, nav a')]\
             .find(e => e.innerText.trim().startsWith({text:?}))"
        );
        self.until(&find);
        self.value(&format!("({find}.click(), 1)"));
    }

    pub(crate) fn key(&self, key: &str) {
        self.tab.press_key(key).expect("pressed");
    }

    pub(crate) fn narrow(&self, width: u32) {
        self.tab
            .call_method(Emulation::SetDeviceMetricsOverride {
                width,
                height: 900,
                device_scale_factor: 1.0,
                mobile: false,
                scale: None,
                screen_width: None,
                screen_height: None,
                position_x: None,
                position_y: None,
                dont_set_visible_size: None,
                screen_orientation: None,
                viewport: None,
                display_feature: None,
                device_posture: None,
            })
            .expect("set");
    }

    /// Lists what somebody who does not see the page cannot tell: controls and pictures without a name,
    /// and tables without headings.
    pub(crate) fn unnamed(&self) -> Vec<String> {
        let script = "(() => {
            const all = selector => [...document.querySelectorAll(selector)]
                .filter(e => !e.closest('[aria-hidden=true]'));
            const named = e => e.getAttribute('aria-label') || e.getAttribute('aria-labelledby')
                || e.labels?.length || e.textContent.trim();
            return [...all('input, select, button, a, progress, canvas, svg, [role=region]')
                .filter(e => !named(e)), ...all('table').filter(t => !t.querySelector('th'))]
                .map(e => e.outerHTML.slice(0, 200));
        })()";
        let unnamed = self.value(script);
        let unnamed = unnamed.as_array().expect("a list").iter();
        unnamed.map(|element| element.to_string()).collect()
    }

    pub(crate) fn text(&self) -> String {
        let text = self.value("document.body.innerText");
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Console errors, exceptions and failed requests so far.
    pub(crate) fn mistakes(&self) -> Vec<String> {
        self.wrong.lock().expect("whole").clone()
    }
}

fn mistake(event: &Event) -> Option<String> {
    match event {
        Event::RuntimeExceptionThrown(thrown) => {
            let details = &thrown.params.exception_details;
            let what = details.exception.as_ref();
            let what = what.and_then(|exception| exception.description.clone());
            Some(format!("exception: {} {what:?}", details.text))
        }
        Event::RuntimeConsoleAPICalled(called) => {
            let kind = format!("{:?}", called.params.Type);
            let bad = kind == "Error" || kind == "Assert" || kind == "Warning";
            bad.then(|| format!("console: {:?}", called.params.args))
        }
        Event::LogEntryAdded(added) => {
            let entry = &added.params.entry;
            let level = format!("{:?}", entry.level);
            (level == "Error").then(|| format!("log: {} {:?}", entry.text, entry.url))
        }
        Event::NetworkLoadingFailed(failed) => {
            let params = &failed.params;
            // What the page itself gives up is no mistake.
            let given_up = params.canceled == Some(true);
            (!given_up).then(|| format!("failed request: {}", params.error_text))
        }
        Event::NetworkResponseReceived(received) => {
            let response = &received.params.response;
            (response.status >= 400).then(|| format!("{} {}", response.status, response.url))
        }
        _ => None,
    }
}

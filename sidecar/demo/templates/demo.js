document.addEventListener("DOMContentLoaded", function () {
  "use strict";
  var screen = document.getElementById("screen");
  var lever = document.querySelector("[data-try=live]");
  var socket = null;
  document.getElementById("tries").hidden = false;

  function show(text) { screen.textContent = text; }

  function call(what, headers) {
    show("GET /api/me" + what + "\n\n...");
    fetch("/api/me", { headers: headers, cache: "no-store", redirect: "manual" }).then(function (answer) {
      return answer.text().then(function (body) {
        var kind = answer.headers.get("Content-Type") || "";
        try { body = kind.indexOf("json") < 0 ? body : JSON.stringify(JSON.parse(body), null, 2); } catch (error) { /* as it is */ }
        var end = answer.status === 401 ? "\n\nThe session has ended: a script is told so and can act on it." : "";
        show("GET /api/me" + what + "\n\n" + answer.status + " " + answer.statusText + "\n" + body + end);
      });
    }, function (error) { show("No answer: " + error.message); });
  }

  function stop() { if (socket) { socket.close(); } }

  function live() {
    if (socket) { stop(); return; }
    show("Opening /live ...");
    socket = new WebSocket(location.origin.replace("http", "ws") + "/live");
    lever.setAttribute("aria-pressed", "true");
    socket.onmessage = function (message) { show("A WebSocket to /live\n\n" + message.data + "\n\nSign out in another tab and see it end."); };
    socket.onclose = function (end) {
      socket = null;
      lever.setAttribute("aria-pressed", "false");
      show("The WebSocket has ended: " + (end.code === 1005 ? "closed here" : end.code + (end.reason ? " " + end.reason : "")) + ".");
    };
  }

  var tries = {
    me: function () { call("", {}); },
    lie: function () {
      var lies = { "X-Forwarded-User": "root", "X-Forwarded-Groups": "admins", "X_Forwarded_User": "root", "Remote-User": "root" };
      call("\nX-Forwarded-User: root\nX-Forwarded-Groups: admins\nX_Forwarded_User: root\nRemote-User: root", lies);
    },
    live: live
  };
  document.querySelectorAll("[data-try]").forEach(function (button) {
    button.addEventListener("click", function () { tries[button.dataset.try](); });
  });
});

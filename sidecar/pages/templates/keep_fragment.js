(function () {
  "use strict";
  // The part of the address behind "#" never reaches a server: it is added to the return URL here.
  if (location.hash.length < 2) { return; }
  document.addEventListener("DOMContentLoaded", function () {
    document.querySelectorAll("a[data-start]").forEach(function (link) {
      var target = new URL(link.href);
      var back = target.searchParams.get("rd") || "/";
      if (target.origin !== location.origin || back.indexOf("#") !== -1) { return; }
      target.searchParams.set("rd", back + location.hash);
      link.href = target.href;
    });
  });
}());

document.addEventListener("DOMContentLoaded", function () { document.getElementById("answer").submit(); });

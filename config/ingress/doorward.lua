-- Asks Doorward about each request, for config/ingress/haproxy.cfg.
--
-- The action answers the browser itself with whatever Doorward answers, unless that is a plain yes. Only then
-- is the application told who it is, and the variable txn.doorward "yes". haproxy.cfg refuses every request
-- without it, so an error in this file, a Doorward that is down or hangs, and an answer that makes no sense are
-- all refusals.

-- What Doorward is told of the client, beside every Sec-* (which tells a WebSocket handshake too). Nothing else
-- that a client sends reaches it, so none of it can pass for what is said of the request further down.
local TOLD = {
  "accept", "access-control-request-headers", "access-control-request-method", "authorization", "cookie",
  "origin", "purpose", "referer", "user-agent", "x-requested-with",
}

-- Of each try. HAProxy tries four times, so a Doorward that hangs is a refusal after four times this.
local MILLISECONDS = 2000

-- Who it is, and where doorward.yaml has forward_auth.secret the same value: from haproxy.cfg or the environment.
local HEADERS = assert(os.getenv("DOORWARD_HEADERS"), "setenv DOORWARD_HEADERS ... before this file is loaded")
local SECRET = os.getenv("DOORWARD_SECRET")

local NOT_COPIED = { ["connection"] = true, ["content-length"] = true, ["keep-alive"] = true,
                     ["transfer-encoding"] = true }

-- HAProxy counts the values of a field from 0.
local function values(field)
  local list = {}
  for index = 0, #field do list[#list + 1] = field[index] end
  return list
end

-- The question: docs/forward-auth.md has the table of what each dialect says.
local function question(txn)
  local received, asked = txn.http:req_get_headers(), {}
  for name, field in pairs(received) do
    if name:find("^sec%-") then asked[name] = values(field) end
  end
  for _, name in ipairs(TOLD) do
    if received[name] then asked[name] = values(received[name]) end
  end
  asked["x-forwarded-method"] = { txn.f:method() }
  asked["x-forwarded-uri"] = { txn.f:pathq() }
  asked["x-forwarded-host"] = { txn.f:req_fhdr("host") }
  asked["x-forwarded-proto"] = { txn.f:ssl_fc() == 1 and "https" or "http" }
  asked["x-forwarded-for"] = { txn.f:src() }
  asked["x-doorward-secret"] = SECRET and { SECRET } or nil
  return asked
end

-- An answer that broke off arrives like any other; only its length tells.
local function is_whole(answer)
  local length = answer.headers["content-length"]
  return length == nil or tonumber(length[0]) == #answer.body
end

-- Tells the application who it is, by Doorward's headers and no client's. An empty one is none: somebody lacks
-- that claim, or nobody is signed in on a public path. One that is missing is no answer of Doorward's, and one
-- that finds no room in HAProxy's buffer would be a request without it: no.
local function identify(txn, told)
  for name in HEADERS:gmatch("[^,]+") do
    txn.http:req_del_header(name)
    local field = told[name:lower()]
    if not field then return false end
    if field[0] ~= "" then
      txn.http:req_set_header(name, field[0])
      if txn.f:req_fhdr(name) ~= field[0] then return false end
    end
  end
  return true
end

core.register_action("doorward", { "http-req" }, function(txn, url)
  local answer = core.httpclient():get{ url = url, headers = question(txn), timeout = MILLISECONDS }
  if not is_whole(answer) then return end
  if answer.status == 200 or answer.status == 202 then
    if not identify(txn, answer.headers) then return end
    txn:set_priv(answer.headers["set-cookie"])
    txn:set_var("txn.doorward", "yes")
  elseif answer.status >= 300 then
    local reply = txn:reply{ status = answer.status, reason = answer.reason, body = answer.body }
    for name, field in pairs(answer.headers) do
      for _, value in ipairs(NOT_COPIED[name] and {} or values(field)) do reply:add_header(name, value) end
    end
    txn:done(reply)
  end
end, 1)

-- A session that was renewed on this request, or its chunks: to the browser with the application's answer.
core.register_action("doorward-cookies", { "http-res" }, function(txn)
  for _, value in ipairs(values(txn:get_priv() or {})) do txn.http:res_add_header("Set-Cookie", value) end
end)

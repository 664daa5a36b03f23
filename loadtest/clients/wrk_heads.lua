-- For wrk: the same head in every request, except for sixteen digits of its cookie.
--
-- The first argument is a file with the head, with sixteen "@" in place of the digits; the second
-- argument is the first number. The constant parts are joined before the load begins, so a request
-- costs one string.format and one concatenation, well below what wrk itself does for it.

local before, after, number
local format = string.format

function init(args)
  local file = assert(io.open(args[1], "rb"))
  local head = file:read("*a")
  file:close()
  local from, to = head:find(("@"):rep(16), 1, true)
  before, after = head:sub(1, from - 1), head:sub(to + 1)
  number = tonumber(args[2])
end

function request()
  number = number + 1
  return before .. format("%016x", number) .. after
end

-- Tables of tables, strings and closures.
local total = 0
for round = 1, 5 do
  local index = {}
  for i = 1, 60000 do
    local word = ("w" .. (i * 7919 % 5003)) .. string.rep("x", i % 7)
    local entry = index[word]
    if not entry then entry = { count = 0, places = {} }; index[word] = entry end
    entry.count = entry.count + 1
    entry.places[#entry.places + 1] = { line = i // 80, column = i % 80 }
  end
  local words = {}
  for word, entry in pairs(index) do words[#words + 1] = word .. ":" .. entry.count end
  table.sort(words)
  local text = table.concat(words, ",")
  total = total + #text
  for piece in text:gmatch("[^,]+") do total = total + #piece:upper() end
end
print(total)

# Strings, hashes and arrays of objects.
Entry = Struct.new(:count, :places)
total = 0
5.times do
  index = {}
  60_000.times do |i|
    word = "w#{i * 7919 % 5003}" + "x" * (i % 40)
    entry = (index[word] ||= Entry.new(0, []))
    entry.count += 1
    entry.places << [i / 80, i % 80]
  end
  text = index.map { |word, entry| "#{word}:#{entry.count}" }.sort.join(",")
  total += text.length
  groups = text.split(",").map(&:upcase).group_by(&:length)
  total += groups.sum { |length, words| length * words.size }
end
puts total

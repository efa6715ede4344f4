/// The connected parts of a mask of side x side, each as its pixels, in the order of their first
/// ones.
///
/// - Parameter byCorners: whether pixels are connected that touch by a corner alone.
func connectedParts(_ mask: [Bool], side: Int, byCorners: Bool) -> [[Int]] {
    var open = mask
    var parts: [[Int]] = []
    for first in mask.indices where open[first] {
        open[first] = false
        var part = [first]
        var next = 0
        while next < part.count {
            let (row, column) = (part[next] / side, part[next] % side)
            for y in max(row - 1, 0)...min(row + 1, side - 1) {
                for x in max(column - 1, 0)...min(column + 1, side - 1)
                where open[y * side + x] && (byCorners || y == row || x == column) {
                    open[y * side + x] = false
                    part.append(y * side + x)
                }
            }
            next += 1
        }
        parts.append(part)
    }
    return parts
}

/// The pixel of a part that is farthest from its edge; the border of the map is no edge.
///
/// Distances are those of OpenCV's mask of 3 x 3: a step takes .955, a diagonal one 1.3693.
func deepest(of part: [Int], side: Int) -> Int {
    let (straight, diagonal) = (9550, 13693)
    let pixels = part.sorted()
    var depth = [Int](repeating: 0, count: side * side)
    for pixel in pixels { depth[pixel] = Int.max / 2 }
    for (order, back) in [(pixels, -1), (pixels.reversed(), 1)] {
        let near = [
            (0, back, straight), (back, 0, straight), (back, -1, diagonal), (back, 1, diagonal),
        ]
        for pixel in order {
            for (down, right, length) in near {
                let (row, column) = (pixel / side + down, pixel % side + right)
                guard (0..<side).contains(row), (0..<side).contains(column) else { continue }
                depth[pixel] = min(depth[pixel], depth[row * side + column] + length)
            }
        }
    }
    return pixels.max { depth[$0] < depth[$1] } ?? 0
}

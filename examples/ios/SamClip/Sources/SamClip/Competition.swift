/// From this share on, a mask that better ones cover is dropped.
private let containedShare = 0.8
/// Above this IoU, two masks are one object.
private let sameIoU = 0.5

/// Lets masks of different labels compete in one image, the likeliest first: no pixel stays in
/// masks of two labels.
///
/// Among equals, the first one is likelier.
///
/// - Parameter labels: a number, 0 or more, for the label of each.
/// - Returns: what is left of each; none if a likelier one of another label is the same, or if
///   likelier ones of other labels cover nearly all of it.
package func settled(_ masks: [Mask], labels: [Int], likelihoods: [Float]) -> [Mask?] {
    var result = [Mask?](repeating: nil, count: masks.count)
    let nobody: Int32 = -1
    var owners = [Int32](repeating: nobody, count: masks.first?.pixels.count ?? 0)
    var kept: [Int] = []
    for place in masks.indices.sorted(by: { likelihoods[$0] > likelihoods[$1] }) {
        let (mask, label) = (masks[place], Int32(labels[place]))
        let own = zip(mask.pixels, owners).map { $0 && ($1 == nobody || $1 == label) }
        let left = Mask(pixels: own, height: mask.height, width: mask.width)
        let rivals = kept.filter { labels[$0] != labels[place] }
        if isCovered(mask.area - left.area, of: mask.area)
            || rivals.contains(where: { isSame(masks[$0].pixels, mask.pixels) })
        {
            continue
        }
        kept.append(place)
        for pixel in own.indices where own[pixel] { owners[pixel] = label }
        result[place] = left
    }
    return result
}

/// Whether better masks cover so much of a mask that it is dropped.
func isCovered(_ covered: Int, of area: Int) -> Bool {
    Double(covered) >= containedShare * Double(max(area, 1))
}

/// Whether two masks are one object.
func isSame(_ first: [Bool], _ second: [Bool]) -> Bool {
    let shared = shared(first, second)
    return Double(shared) > sameIoU * Double(count(first) + count(second) - shared)
}

func shared(_ first: [Bool], _ second: [Bool]) -> Int {
    zip(first, second).reduce(0) { $1.0 && $1.1 ? $0 + 1 : $0 }
}

func count(_ pixels: [Bool]) -> Int { pixels.reduce(0) { $1 ? $0 + 1 : $0 } }

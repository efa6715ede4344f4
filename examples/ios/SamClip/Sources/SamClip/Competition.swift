/// From this share on, a mask that likelier ones cover is dropped.
private let containedShare = 0.8
/// Above this IoU, two masks are one object.
private let sameIoU = 0.5

/// Lets the masks of one picture compete, the likeliest first: no pixel stays in two of them.
///
/// Among equals, the first one is likelier.
///
/// - Returns: what is left of each; none if a likelier one is the same, or if likelier ones cover
///   nearly all of it.
package func settled(_ masks: [Mask], likelihoods: [Float]) -> [Mask?] {
    var result = [Mask?](repeating: nil, count: masks.count)
    var owned = [Bool](repeating: false, count: masks.first?.pixels.count ?? 0)
    var kept: [Mask] = []
    for place in masks.indices.sorted(by: { likelihoods[$0] > likelihoods[$1] }) {
        let mask = masks[place]
        let own = zip(mask.pixels, owned).map { $0 && !$1 }
        let left = Mask(pixels: own, height: mask.height, width: mask.width)
        let area = mask.area
        let isCovered = Double(area - left.area) >= containedShare * Double(max(area, 1))
        if isCovered || kept.contains(where: { isSame($0, mask) }) { continue }
        kept.append(mask)
        owned = zip(owned, own).map { $0 || $1 }
        result[place] = left
    }
    return result
}

private func isSame(_ first: Mask, _ second: Mask) -> Bool {
    let shared = zip(first.pixels, second.pixels).reduce(0) { $1.0 && $1.1 ? $0 + 1 : $0 }
    return Double(shared) > sameIoU * Double(first.area + second.area - shared)
}

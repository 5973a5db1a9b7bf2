#pragma once

#include <string>
#include <string_view>
#include <type_traits>

namespace volfs {

// StrCat(a, b, c): the pieces one after another. Strings and integers only.
inline void AppendPiece(std::string& out, std::string_view piece) { out.append(piece); }
inline void AppendPiece(std::string& out, const char* piece) { out.append(piece); }
inline void AppendPiece(std::string& out, char piece) { out.push_back(piece); }
template <typename Integer>
requires std::is_integral_v<Integer>
void AppendPiece(std::string& out, Integer piece) { out.append(std::to_string(piece)); }
template <typename... Pieces>
std::string StrCat(const Pieces&... pieces) {
  std::string out;
  (AppendPiece(out, pieces), ...);
  return out;
}

}  // namespace volfs
